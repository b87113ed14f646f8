import pytest
import torch
from torch import nn

from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.models.freeze import FREEZE_POLICIES, freeze
from segsweep.models.segmentation_model import SegmentationModel


def copy_of(model: SegmentationModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def steps(model: SegmentationModel, count: int = 2) -> None:
    """Optimiser steps over all parameters, so that nothing but the freeze keeps one still; weight decay moves all it sees."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    chance = torch.Generator().manual_seed(0)
    for _ in range(count):
        model.train()
        images = torch.randn(4, 3, 32, 32, generator=chance) + 3
        masks = torch.randint(0, 2, (4, 32, 32), generator=chance)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), masks).backward()
        optimizer.step()


@pytest.mark.parametrize("name", ["unet-mobilenet_v2", "unet16", "deeplabv3plus-resnet18"])
def test_frozen_encoder_does_not_move(name):
    """With freeze=encoder neither weights nor normalisation statistics of the encoder move in training; all else does."""
    model = build_model(name, 2, seed=0)
    freeze(model, "encoder")
    before = copy_of(model)
    steps(model)
    after = model.network.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert not [key for key in moved if key.startswith("encoder.")]
    assert moved == {key for key in before if not key.startswith("encoder.")}


def test_unfrozen_encoder_moves_with_its_statistics():
    """With freeze=none every weight and every statistic of the encoder moves."""
    model = build_model("unet-mobilenet_v2", 2, seed=0)
    freeze(model, "none")
    before = copy_of(model)
    steps(model)
    after = model.network.state_dict()
    assert not [key for key in before if torch.equal(before[key], after[key])]


def test_frozen_encoder_stays_in_eval_mode_through_mode_changes():
    """However often the mode is switched, the held encoder stays in eval mode and the decoder follows."""
    model = build_model("unet-mobilenet_v2", 2, seed=0)
    model.train()
    freeze(model, "encoder")
    for mode in (True, False, True):
        model.train(mode)
        assert not any(module.training for module in model.encoder.modules())
        assert all(module.training is mode for module in model.network.decoder.modules())


@pytest.mark.parametrize("name", ["unet16", "unet-mobilenet_v2", "unet-resnet18"])
def test_parameter_counts(name):
    """The trained parameters are all of them, or with a frozen encoder all but the encoder's."""
    model = build_model(name, 3, seed=0)
    sizes = {key: parameter.numel() for key, parameter in model.network.named_parameters()}
    total = sum(sizes.values())
    assert model.parameter_counts() == (total, total)
    freeze(model, "encoder")
    outside = sum(size for key, size in sizes.items() if not key.startswith("encoder."))
    assert 0 < outside < total
    assert model.parameter_counts() == (outside, total)
    assert sum(parameter.numel() for parameter in model.trainable()) == outside


def test_unknown_policy_lists_what_exists():
    """A policy that does not exist is refused with the names of those that do."""
    with pytest.raises(UserError) as caught:
        freeze(build_model("unet16", 2, seed=0), "decoder")
    assert all(policy in str(caught.value) for policy in FREEZE_POLICIES)
