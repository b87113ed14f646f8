import pytest
import torch
from fresh_models import fresh_model
from torch import nn

from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.models.freeze import FREEZE_POLICIES, check_freeze_fits, freeze
from segsweep.models.segmentation_model import Parts, SegmentationModel


def copy_of(model: SegmentationModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def steps(model: SegmentationModel, count: int = 1) -> None:
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
def test_frozen_encoder_does_not_change(name):
    """With freeze=encoder, training changes neither weights nor statistics of the encoder; everything else changes."""
    model = fresh_model(name)
    freeze(model, "encoder")
    before = copy_of(model)
    steps(model)
    after = model.network.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert not [key for key in moved if key.startswith("encoder.")]
    assert moved == {key for key in before if not key.startswith("encoder.")}


def held_by(model: SegmentationModel, policy: str) -> set[str]:
    """The names in the state that a policy must keep, computed without the code under test."""
    norms = nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm2d
    inside = {
        "none": lambda _: False,
        "encoder": lambda name: name.startswith(model.parts.encoder),
        "encoder:1": lambda name: name.startswith(
            ("encoder.conv1.", "encoder.bn1.", "encoder.blocks.0.", "encoder.patch_embed1.")
        ),
        "encoder:2": lambda name: name.startswith(
            ("encoder.conv1.", "encoder.bn1.", "encoder.layer1.", "encoder.blocks.0.", "encoder.blocks.1.")
        ),
        "norm": lambda name: isinstance(model.network.get_submodule(name.rpartition(".")[0]), norms),
    }[policy]
    return {name for name in model.network.state_dict() if inside(name)}


@pytest.mark.parametrize("name", ["unet16", "unet-resnet18"])
@pytest.mark.parametrize("policy", ["none", "encoder", "encoder:1", "encoder:2", "norm"])
def test_each_policy_keeps_its_parts_and_nothing_else(name, policy):
    """Weights and running statistics of the parts that a policy names are equal bit by bit after training; all others change."""
    model = fresh_model(name)
    freeze(model, policy)
    before, held = copy_of(model), held_by(model, policy)
    assert any(key.endswith("running_mean") for key in held) == (policy != "none")
    steps(model)
    after = model.network.state_dict()
    assert {key for key in before if torch.equal(before[key], after[key])} == held


def test_norm_freezes_every_kind_of_normalisation():
    """With freeze=norm, a transformer's LayerNorms and its head's BatchNorm have no gradient, and nothing else is frozen."""
    model = build_model("segformer-mit_b0", 2, seed=0)
    freeze(model, "norm")
    held = held_by(model, "norm")
    assert {type(model.network.get_submodule(name.rpartition(".")[0])).__name__ for name in held} == {"LayerNorm", "BatchNorm2d"}
    still = {name for name, parameter in model.network.named_parameters() if not parameter.requires_grad}
    assert still == {name for name, _ in model.network.named_parameters()} & held


def test_frozen_levels_stay_in_eval_mode_through_mode_changes():
    """Frozen levels stay in eval mode, however often the mode is switched; the rest of the encoder follows the mode."""
    model = fresh_model("unet-resnet18")
    freeze(model, "encoder:2")
    for mode in (True, False, True):
        model.train(mode)
        assert not any(module.training for module in model.encoder.layer1.modules())
        assert all(module.training is mode for module in model.encoder.layer2.modules())


@pytest.mark.parametrize("name", ["unet-resnet18", "unet16"])
@pytest.mark.parametrize("policy", ["encoder", "encoder:3"])
def test_levels_are_unfrozen_deepest_first(name, policy):
    """Each call unfreezes the weights and statistics of one more level, the deepest first; in the end all levels train."""
    model = fresh_model(name)
    freeze(model, policy)
    count = 3 if policy.endswith("3") else 5
    for remaining in range(count - 1, -1, -1):
        assert model.unfreeze_level()
        before = copy_of(model)
        steps(model)
        after = model.network.state_dict()
        first = tuple(part for level in model.encoder_levels[:remaining] for part in level)
        assert {key for key in before if torch.equal(before[key], after[key])} == {key for key in before if key.startswith(first)}
    assert not model.unfreeze_level()
    assert model.parameter_counts()[0] == model.parameter_counts()[1]


@pytest.mark.parametrize("policy", ["none", "norm"])
def test_no_frozen_level_to_unfreeze(policy):
    """If no level of the encoder is frozen, there is nothing to unfreeze, and other frozen parts stay frozen."""
    model = fresh_model("unet-resnet18")
    freeze(model, policy)
    before = model.parameter_counts()
    assert not model.unfreeze_level()
    assert model.parameter_counts() == before


@pytest.mark.parametrize(("name", "levels"), [("unet16", 5), ("unet-mit_b0", 4), ("pspnet-resnet18", 3)])
def test_too_many_levels_are_refused(name, levels):
    """A policy with more levels than the encoder has is refused, with the number of levels, before a model is built."""
    check_freeze_fits(name, f"encoder:{levels}")
    with pytest.raises(UserError, match=f"{name}.*encoder:{levels + 1}.*has {levels} levels; allowed are 1 to {levels}"):
        check_freeze_fits(name, f"encoder:{levels + 1}")
    check_freeze_fits(name, "encoder")
    check_freeze_fits(name, "none")


def test_norm_without_normalisation_is_refused():
    """A network without any normalisation layer cannot be frozen by `norm`."""
    model = SegmentationModel(nn.Sequential(nn.Conv2d(3, 2, 1)), Parts("0.", "0."))
    with pytest.raises(UserError, match="no normalisation layer"):
        freeze(model, "norm")


def test_unfrozen_encoder_changes_with_its_statistics():
    """With freeze=none, training changes every weight and every statistic of the encoder."""
    model = build_model("unet-mobilenet_v2", 2, seed=0)
    freeze(model, "none")
    before = copy_of(model)
    steps(model)
    after = model.network.state_dict()
    assert not [key for key in before if torch.equal(before[key], after[key])]


def test_frozen_encoder_stays_in_eval_mode_through_mode_changes():
    """The frozen encoder stays in eval mode, however often the mode is switched; the decoder follows the mode."""
    model = build_model("unet-mobilenet_v2", 2, seed=0)
    model.train()
    freeze(model, "encoder")
    for mode in (True, False, True):
        model.train(mode)
        assert not any(module.training for module in model.encoder.modules())
        assert all(module.training is mode for module in model.network.decoder.modules())


@pytest.mark.parametrize("name", ["unet16", "unet-mobilenet_v2", "unet-resnet18"])
def test_parameter_counts(name):
    """All parameters are trainable; with a frozen encoder, all except the encoder's."""
    model = build_model(name, 3, seed=0)
    sizes = {key: parameter.numel() for key, parameter in model.network.named_parameters()}
    total = sum(sizes.values())
    assert model.parameter_counts() == (total, total)
    freeze(model, "encoder")
    outside = sum(size for key, size in sizes.items() if not key.startswith("encoder."))
    assert 0 < outside < total
    assert model.parameter_counts() == (outside, total)
    assert sum(parameter.numel() for parameter in model.trainable()) == outside


def test_unknown_policy_lists_the_known_ones():
    """An unknown policy is refused with the names of the known ones."""
    with pytest.raises(UserError) as caught:
        freeze(build_model("unet16", 2, seed=0), "decoder")
    assert all(policy in str(caught.value) for policy in FREEZE_POLICIES)


def test_norm_freezes_only_transferred_layers():
    """After the transfer of an encoder, freeze=norm freezes the encoder's normalisation layers and none of the new decoder's."""
    model = fresh_model("unet-resnet18")
    brought = [name for name in model.network.state_dict() if name.startswith("encoder.")]
    freeze(model, "norm", brought)
    held = {name for name, parameter in model.network.named_parameters() if not parameter.requires_grad}
    norms = {name for name, each in model.network.named_modules() if isinstance(each, nn.BatchNorm2d)}
    assert held == {f"{n}.{part}" for n in norms if n.startswith("encoder.") for part in ("weight", "bias")}
    decoder = model.network.get_submodule(next(name for name in norms if name.startswith("decoder.")))
    model.train()
    assert decoder.training
    assert not model.encoder.bn1.training


@pytest.mark.parametrize("name", ["unet-resnet18", "unet16"])
@pytest.mark.parametrize("policy", ["encoder", "encoder:2"])
def test_frozen_parts_in_train_mode_are_those_of_a_script_that_only_sets_requires_grad(name, policy):
    """With frozen_norm=train the state after training equals, bit for bit, that of a plain torch script which sets requires_grad
    of the frozen parameters to False and nothing else: these stay, and their normalisation statistics move."""
    model, script = fresh_model(name), fresh_model(name)
    held = held_by(model, policy)
    freeze(model, policy, frozen_norm="train")
    for key, parameter in script.network.named_parameters():
        parameter.requires_grad = key not in held
    before = copy_of(model)
    steps(model)
    steps(script)
    after, expected = model.network.state_dict(), script.network.state_dict()
    assert all(torch.equal(after[key], expected[key]) for key in before)
    parameters = dict(model.network.named_parameters())
    assert {key for key in held if torch.equal(after[key], before[key])} == held & parameters.keys()
    assert any(key.endswith("running_var") for key in held)


def test_frozen_parts_in_train_mode_follow_every_mode_change():
    """With frozen_norm=train a frozen encoder is in train mode while the model trains and in eval mode while it is evaluated."""
    model = build_model("unet-mobilenet_v2", 2, seed=0)
    freeze(model, "encoder", frozen_norm="train")
    for mode in (True, False, True):
        model.train(mode)
        assert all(module.training is mode for module in model.network.modules())
