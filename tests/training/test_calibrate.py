"""Calibration of frozen normalisation layers whose statistics have their initial values."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from segsweep.config.normalisation import IMAGENET
from segsweep.models.architectures import build_model
from segsweep.models.encoder_levels import feature_maps
from segsweep.models.freeze import freeze
from segsweep.training import calibrate as module
from segsweep.training.batches import epoch_batches, normalise
from segsweep.training.calibrate import calibrate
from segsweep.training.world import World

SEED = 5


def deepest(model, images) -> torch.Tensor:
    with torch.no_grad():
        return feature_maps(model.eval().encoder(images))[-1]


def inputs(images, cpu) -> torch.Tensor:
    ((shown, _),) = images.batches([np.arange(len(images))], cpu)
    return normalise(shown, IMAGENET)


@pytest.fixture
def calibrated(cpu):
    def run(model, images, transferred=()) -> int:
        return calibrate(model, transferred, images, IMAGENET, seed=SEED, device=cpu, world=World())

    return run


@pytest.mark.parametrize("architecture", ["unet-mobilenet_v2", "unet-resnet50", "unet-densenet121"])
def test_a_frozen_random_encoder_gives_useful_features(architecture, image_set, calibrated, cpu):
    """The deepest features of a frozen random encoder have a deviation of about one, and differ between images."""
    images = image_set(12, 64)
    model = build_model(architecture, 2, seed=0)
    freeze(model, "encoder")
    before = deepest(model, inputs(images, cpu)).std()
    assert calibrated(model, images) > 10
    after = deepest(model, inputs(images, cpu))
    assert 0.1 < after.std() < 3
    if architecture != "unet-densenet121":  # whose initial weights keep the size of features
        assert not 0.1 < before < 3  # vanished or exploded
    assert after.mean(dim=(2, 3)).std(dim=0).mean() > 0.02


def test_statistics_are_those_of_the_images(image_set, calibrated, monkeypatch, cpu):
    """The first layer's mean and variance are the means over the batches of its input's, as numpy computes them."""
    monkeypatch.setattr(module, "BATCH", 4)
    images = image_set(10, 32)
    model = build_model("unet-resnet18", 2, seed=0)
    freeze(model, "encoder")
    first = model.encoder.conv1
    with torch.no_grad():
        convolved = first(inputs(images, cpu)).double().numpy()
    batches = [convolved[rows] for rows in epoch_batches(10, 4, SEED, 0)]
    calibrated(model, images)
    layer = model.encoder.bn1
    assert layer.running_mean.numpy() == pytest.approx(np.mean([b.mean(axis=(0, 2, 3)) for b in batches], axis=0), abs=1e-5)
    variance = np.mean([b.transpose(1, 0, 2, 3).reshape(64, -1).var(axis=1, ddof=1) for b in batches], axis=0)
    assert layer.running_var.numpy() == pytest.approx(variance, rel=1e-4)
    assert layer.momentum == 0.1


@pytest.mark.parametrize("policy", ["none", "norm", "encoder:1", "encoder"])
def test_only_frozen_layers_without_statistics_change(policy, image_set, calibrated):
    """Layers that training updates, layers that the transfer loaded, and all weights do not change; the mode is restored."""
    images = image_set(6, 32)
    model = build_model("unet-resnet18", 2, seed=0)
    brought = {name for name in model.network.state_dict() if name.startswith("encoder.layer1.")}
    freeze(model, policy, brought)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    modes = {name: each.training for name, each in model.named_modules()}
    count = calibrated(model, images, brought)
    changed = {name for name, tensor in model.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all("running_" in name or "num_batches" in name for name in changed)
    expected = {
        "none": (),
        "norm": (),
        "encoder:1": ("encoder.bn1.",),
        "encoder": ("encoder.bn1.", "encoder.layer2.", "encoder.layer3.", "encoder.layer4."),
    }[policy]
    assert {name.rpartition(".")[0] for name in changed} == {
        name.rpartition(".")[0] for name in before if name.startswith(expected) and "running_mean" in name
    }
    assert count == len({name.rpartition(".")[0] for name in changed})
    assert {name: each.training for name, each in model.named_modules()} == modes


def test_frozen_layers_in_train_mode_need_no_statistics(image_set, calibrated):
    """With frozen_norm=train, nothing is calibrated: training updates the statistics from a new layer's 0 and 1."""
    model = build_model("unet-resnet18", 2, seed=0)
    freeze(model, "encoder", frozen_norm="train")
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    assert calibrated(model, image_set(6, 32)) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


def test_no_label_is_read(image_set, calibrated):
    """Masks have no influence: other labels give the same statistics."""
    images = image_set(6, 32)
    other = replace(images, data=replace(images.data, masks=1 - images.data.masks))
    found = []
    for each in (images, other):
        model = build_model("unet-mobilenet_v2", 2, seed=0)
        freeze(model, "encoder")
        calibrated(model, each)
        found.append(model.network.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_only_the_encoder_runs(image_set, calibrated):
    """The decoder, which costs as much as the encoder, does not run in the pass, and runs normally afterwards."""
    model = build_model("unet-resnet18", 2, seed=0)
    freeze(model, "encoder")
    ran = []
    model.network.decoder.register_forward_hook(lambda *_: ran.append(1))
    assert calibrated(model, image_set(4, 32)) == 20
    assert not ran
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 2, 32, 32)
    assert ran


def test_batches_that_do_not_fit_the_memory_are_halved(image_set, calibrated):
    """If a pass runs out of memory, it starts again with batches of half the size; the result is that of such batches."""
    images, sizes = image_set(40, 32), []

    def full(_, inputs) -> None:
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > 8:
            raise torch.OutOfMemoryError

    model = build_model("unet-resnet18", 2, seed=0)
    freeze(model, "encoder")
    model.encoder.register_forward_pre_hook(full)
    calibrated(model, images)
    assert sizes == [32, 16, 8, 8, 8, 8, 8]


def test_instance_normalisation_with_statistics_is_set_too(image_set, calibrated):
    """A frozen instance normalisation with running statistics gets those of the images."""
    model = build_model("unet-resnet18", 2, seed=0)
    model.encoder.bn1 = torch.nn.InstanceNorm2d(64, track_running_stats=True)
    freeze(model, "encoder")
    calibrated(model, image_set(6, 32))
    assert not torch.allclose(model.encoder.bn1.running_mean, torch.zeros(64), atol=1e-3)
    assert not torch.allclose(model.encoder.bn1.running_var, torch.ones(64), atol=1e-3)
