import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from contracts.self_supervised import Run, make_recipe, numbers

from segsweep.errors import UserError
from segsweep.models.architectures import build_encoder
from segsweep.training import self_supervised, simclr
from segsweep.training.loop import NonFiniteLossError
from segsweep.training.recipe import Length
from segsweep.training.self_supervised import contrastive_chance, held_out_batches, pretrain, start_pretraining
from segsweep.training.self_supervised_method import build_method
from segsweep.training.world import World

PINNED = [(1.737110, 2.289894), (1.486491, 1.999669), (1.668400, 1.947926)]  # training and held-out loss, seed 3, rate 1e-4
PIN_TOLERANCE = 0.01  # relative; processors round some pixels of views the other way: 0.3 %, at a rate of 1e-3 up to 9 %

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture
def sets(image_set):
    """Return ten images for training and four held-out ones; their masks are not used."""
    whole = image_set(14, 32)
    return [replace(whole, members=part) for part in np.split(whole.members, [10])]


@pytest.fixture
def run(sets, cpu, tmp_path):
    count = itertools.count()
    return lambda **values: Run(sets, cpu, tmp_path / f"{next(count)}.safetensors", **values)


def test_loss_curve_is_pinned(run):
    """The losses of three epochs are these; a change that should not change numbers must not change them."""
    found = [(result.train_loss, result.val_loss) for result in run(learning_rate=1e-4).go()]
    np.testing.assert_allclose(found, PINNED, rtol=PIN_TOLERANCE)


def test_a_clipped_step_is_shorter(run):
    """Adam's first moments are a tenth of the first gradient: its norm is the largest allowed one, and larger without a limit."""
    norms = []
    for norm in (None, 0.01):
        one = run(gradient_clip_norm=norm, length=Length(None, 1, 1))
        one.go()
        moments = [each["exp_avg"].double().numpy() / 0.1 for each in one.state.optimizer.state.values()]
        norms.append(float(np.sqrt(sum(np.square(moment).sum() for moment in moments))))
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_an_interrupted_run_with_lars_resumes_with_the_same_numbers(run):
    """The checkpoint holds the momentum of LARS too: a resumed run has the numbers and weights of an uninterrupted one."""
    whole, broken = run(optimizer="lars"), run(optimizer="lars")
    expected = whole.go()
    broken.go(results=2)
    found = broken.go()
    assert numbers(found) == numbers(expected)
    weights = whole.weights()
    assert all(torch.equal(value, weights[name]) for name, value in broken.weights().items())


def test_held_out_images_are_mixed_in_batches_that_every_process_can_share():
    """Held-out images have a fixed shuffled order, in batches of about equal size with at least one image per process; a single
    one is not matched.
    """
    batches = held_out_batches(60, 8, processes=8)
    assert sorted(np.concatenate(batches).tolist()) == list(range(60))
    assert min(map(len, batches)) >= 8
    assert np.concatenate(batches).tolist() != list(range(60))
    assert held_out_batches(1, 8) == []
    assert held_out_batches(3, 8, processes=4) == []
    assert contrastive_chance(64, 64) == pytest.approx(1 / 127)
    assert contrastive_chance(1, 64) is None


def test_too_few_held_out_images_give_no_numbers(run, sets):
    """With one held-out image, there is nothing to match: loss and accuracy are None instead of perfect."""
    alone = run(length=Length(1, None, None))
    alone.sets = [sets[0], sets[1].first(1)]
    (result,) = alone.go()
    assert (result.val_loss, result.contrastive_accuracy) == (None, None)
    assert "training loss" in result.summary


@pytest.mark.parametrize("when", ["views", "backward"])
def test_too_little_memory_is_reported_wherever_it_occurs(run, monkeypatch, when):
    """The message names the settings, also if drawing views or computing gradients runs out of memory."""

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(simclr.SimCLR if when == "views" else torch.Tensor, when, full)
    with pytest.raises(UserError, match=r"ssl_batch_size=4: the views of 4 images at 32 px do not fit"):
        run().go()


def test_lars_adapts_weights_that_are_not_decayed(run):
    """Without weight decay, a step of LARS is as small as with a tiny one; timm's default would not adapt it."""
    found = []
    for decay in (0.0, 1e-9):
        one = run(optimizer="lars", weight_decay=decay, learning_rate=0.3, length=Length(1, None, None), warmup=0.0)
        one.go()
        found.append(one.state.model.network["projection"][0].weight.detach().clone())
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_the_rate_rises_and_falls_along_a_cosine(run):
    """After the warm-up, the rate is the configured one; at the last step it is almost 0."""
    results = run(length=Length(10, None, None), warmup=0.2).go()
    rates = [result.learning_rate for result in results]
    assert rates[1] == pytest.approx(1e-3)
    assert rates == sorted(rates[:2]) + sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 1e-5


def test_steps_and_validations_give_the_length(run):
    """With `steps`, the run makes exactly these steps and yields the given number of equally spaced results."""
    assert [result.steps for result in run(length=Length(None, 7, 3)).go()] == [2, 4, 7]


def test_lars_adapts_and_decays_only_weights(run):
    """Biases and normalisation are not decayed, and timm's LARS therefore does not adapt them."""
    decaying = run(optimizer="lars", weight_decay=0.5, length=Length(1, None, None))
    decaying.go()
    groups = decaying.state.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert all(parameter.dim() > 1 for parameter in groups[0]["params"])
    assert all(parameter.dim() == 1 for parameter in groups[1]["params"])
    assert [group["momentum"] for group in groups] == [0.9, 0.9]


def test_an_infinite_loss_ends_the_run(run):
    """An infinite loss ends the run with an error that names the epoch and the learning rate."""
    with pytest.raises(NonFiniteLossError, match=r"training loss is nan in epoch . at learning_rate=1e\+20"):
        run(learning_rate=1e20).go()


def test_impossible_batches_are_refused(run, sets, cpu, tmp_path):
    """One image cannot be matched, and four processes cannot share two images; both errors are one line."""
    with pytest.raises(UserError, match="ssl_batch_size=1 of 10 images: needs at least 2"):
        run(batch_size=1).go()
    recipe, path = make_recipe(batch_size=2), tmp_path / "x"
    state = start_pretraining(build_method("simclr", build_encoder("unet16", 0), recipe, 0), recipe, cpu, path, World())
    running = pretrain(state, *sets, recipe, seed=0, device=cpu, checkpoint=path, world=World(0, 4))
    with pytest.raises(UserError, match="4 workers cannot share a batch of 2 images"):
        next(running)


def test_too_little_memory_is_reported_with_the_remedy(run, monkeypatch):
    """A batch cannot be split, since its images are matched among each other: the message names the settings."""

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(self_supervised.Method, "__call__", full)
    with pytest.raises(UserError, match=r"ssl_batch_size=4: .* at 32 px do not fit the memory of cpu x1; use a smaller batch"):
        run().go()


@pytest.mark.gpu
@needs_gpu
def test_bfloat16_on_a_gpu_follows_float32(sets, tmp_path):
    """On a GPU in bfloat16, the losses are within a few per cent of those on the CPU."""
    from segsweep.training.device import Device

    device = Device("cuda", 1)
    found = Run(sets, device, tmp_path / "gpu.safetensors", precision="bfloat16").go()
    for result, (train_loss, _) in zip(found, PINNED, strict=True):
        assert result.train_loss == pytest.approx(train_loss, rel=0.1)
