"""Features of a run besides plain steps: schedules, rates per level, unfreezing, averages, and micro-batches."""

from dataclasses import MISSING, fields

import numpy as np
import pytest
import torch
from torch import nn

from segsweep.config import Settings
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.training import loop
from segsweep.training.checkpoint import moving_average
from segsweep.training.loop import start_state, train
from segsweep.training.lr_schedule import learning_rate_share
from segsweep.training.recipe import Recipe


@pytest.fixture
def go(image_set, recipe, cpu, tmp_path):
    """Train a model, and return its state and its results."""

    def run(count=6, name="unet4", image_px=16, policy="none", change=None, watch=None, source=lambda images: images, **values):
        whole = image_set(count + 3, image_px, ignored=True)
        sets = [type(whole)(whole.data, part) for part in np.split(whole.members, [count])]
        sets[0] = source(sets[0])
        model = build_model(name, 2, seed=0)
        freeze(model, policy)
        if change is not None:
            change(model.network)
        made = recipe(**values)
        checkpoint = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        state = start_state(model, made, cpu, checkpoint)
        results = []
        for result in train(state, *sets, made, seed=3, device=cpu, checkpoint=checkpoint):
            results.append(result)
            if watch is not None:
                watch(state)
        return state, results

    return run


def test_recipes_have_the_defaults_of_the_settings():
    """A field that a recipe is not given has the default of the settings, so that a stage's short settings mean the same."""
    for field in fields(Recipe):
        if field.default is not MISSING and field.name != "normalisation":  # settled by data and source
            assert Settings.model_fields[field.name].default == field.default, field.name
    settings = Settings(precision="float32", schedule="poly", ema=0.9)
    made = Recipe.of(settings.model_dump())
    assert (made.schedule, made.ema, made.length.epochs) == ("poly", 0.9, 10)


def test_the_schedule_runs_over_the_whole_run(go):
    """Every step has the rate of the schedule over all steps; a result reports the last rate of its epoch."""
    seen = []
    real = torch.optim.SGD.step

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            seen.append(self.param_groups[0]["lr"])
            return real(self, closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "SGD", Spy)
        _, results = go(epochs=3, optimizer="sgd", schedule="poly", warmup=0.2, learning_rate=0.01)
    assert seen == pytest.approx([0.01 * learning_rate_share("poly", step, 6, 0.2) for step in range(6)])
    assert [result.learning_rate for result in results] == pytest.approx(seen[1::2])


def test_levels_of_the_encoder_have_different_rates(go):
    """The encoder has its factor of the rate, earlier levels less by the layer decay, and the head the full rate."""
    state, _ = go(epochs=1, encoder_lr_factor=0.1, layer_decay=0.5, learning_rate=0.01)
    rates = [group["lr"] for group in state.optimizer.param_groups]
    assert rates == pytest.approx([0.01, *(0.001 * 0.5**above for above in (4, 3, 2, 1, 0))])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_a_slower_encoder_changes_less(go, optimizer):
    """With a small factor, the encoder's weights change less than without, for every optimiser; the head's weights change."""
    moved = []
    for factor in (1.0, 0.01):
        start = build_model("unet4", 2, seed=0).network.state_dict()
        state, _ = go(epochs=1, encoder_lr_factor=factor, optimizer=optimizer)
        after = state.model.network.state_dict()
        name = "encoder.blocks.0.0.weight"
        moved.append(float((after[name] - start[name]).abs().sum()))
        assert not torch.equal(after["classifier.weight"], start["classifier.weight"])
    assert 0 < moved[1] < 0.1 * moved[0]


def test_a_frozen_encoder_is_unfrozen_level_by_level(go):
    """With gradual unfreezing, the deepest level is unfrozen first, and one more after each interval of epochs; each then
    changes.
    """
    start = build_model("unet4", 2, seed=0).network.state_dict()
    still = []

    def watch(state):
        after = state.model.network.state_dict()
        names = [f"encoder.blocks.{level}.0.weight" for level in range(5)]
        still.append([torch.equal(after[name], start[name]) for name in names])

    go(epochs=5, policy="encoder", unfreeze_every_epochs=2, watch=watch)
    assert [row.count(True) for row in still] == [5, 5, 4, 4, 3]
    assert still[-1] == [True, True, True, False, False]


def test_the_average_is_validated_and_kept(go):
    """The average is validated and kept; it follows w' = d w' + (1 - d) w with d = min(ema, (1 + n) / (10 + n))."""
    history, evaluated, step, measure = [], [], torch.optim.Adam.step, loop.evaluate

    def spy(self, closure=None):
        step(self, closure)
        history.append(self.param_groups[0]["params"][0].detach().clone())

    def watched(model, *values, **named):
        evaluated.append(model)
        return measure(model, *values, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", spy)
        patch.setattr(loop, "evaluate", watched)
        state, _ = go(epochs=2, ema=0.8)
    expected = history[0]
    for number, weights in enumerate(history[1:], start=1):
        decay = min(0.8, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * weights
    name = next(name for name, _ in state.model.network.named_parameters())
    found = state.evaluated.network.state_dict()[name]
    torch.testing.assert_close(found, expected)
    assert all(model is state.evaluated for model in evaluated)
    assert not torch.equal(found, state.model.network.state_dict()[name])
    assert torch.equal(state.best[name], found) or state.best_result == 1


def test_copies_double_the_epoch(go, recorded):
    """With one augmented copy, an epoch has every image twice, once unchanged; only the copies are changed."""
    sources, changed = [], []

    def source(images):
        sources.append(recorded(images))
        return sources[0]

    def watched(augmentation, images, masks, drawn, chosen=None, _real=loop.augment):
        changed.extend(chosen.tolist())
        return _real(augmentation, images, masks, drawn, chosen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "augment", watched)
        _, results = go(epochs=1, augmented_copies=1, augmentation="rotate_flip_jitter_blur", source=source)
    assert sorted(np.concatenate(sources[0].seen).tolist()) == sorted([*range(6), *range(6)])
    assert (changed.count(True), changed.count(False)) == (6, 6)
    assert results[0].steps == 3


class Tight(nn.Module):
    """A layer that runs out of memory for more than a number of images at once, like a GPU."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images


def tight(most: int, norm: bool = False):
    """Make a network run out of memory at its last layer, with or without normalisation, which depends on the micro-batch."""

    def change(network: nn.Module) -> None:
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.BatchNorm2d) and not norm:
                parent, _, last = name.rpartition(".")
                setattr(network.get_submodule(parent), last, nn.Identity())
        network.classifier = nn.Sequential(network.classifier, Tight(most))

    return change


@pytest.mark.parametrize("loss", ["cross_entropy", "weighted_cross_entropy", "focal"])
def test_a_batch_that_does_not_fit_is_split_into_micro_batches(go, loss):
    """When memory runs out, a batch is halved until it fits; the numbers are those of the whole batch; the record states it."""
    values = {"count": 8, "batch_size": 8, "epochs": 2, "loss": loss, "optimizer": "sgd"}
    _, whole = go(**values, change=tight(8))
    _, pieces = go(**values, change=tight(3))
    assert [result.micro_batch for result in whole] == [8, 8]
    assert [result.micro_batch for result in pieces] == [2, 2]
    for one, other in zip(whole, pieces, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-4)
        assert other.val_loss == pytest.approx(one.val_loss, rel=1e-4)


def distance(one: nn.Module, other: nn.Module) -> float:
    """Return the Euclidean distance between the parameters of two networks, by numpy."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return float(np.sqrt(sum(np.square((a - b).detach().double().numpy()).sum() for a, b in pairs)))


@pytest.mark.parametrize("most", [8, 3], ids=["whole batch", "pieces"])
def test_one_step_changes_the_weights_by_the_clipped_norm(go, most):
    """The length of a step of plain gradient descent is the rate times the largest norm, also with micro-batches."""
    values = {"count": 8, "batch_size": 8, "epochs": 1, "optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.1}
    state, results = go(**values, gradient_clip_norm=0.02, change=tight(most))
    assert results[0].micro_batch == (8 if most == 8 else 2)
    start = build_model("unet4", 2, seed=0)
    tight(8)(start.network)
    assert distance(state.model, start) == pytest.approx(0.1 * 0.02, rel=1e-3)


def test_a_gradient_within_the_norm_is_unchanged(go):
    """With a norm that no gradient reaches, weights equal those without clipping bit by bit; with a small norm they differ."""
    values = {"epochs": 1, "optimizer": "sgd"}
    off, large, small = (go(**values, gradient_clip_norm=norm)[0].model for norm in (None, 1e6, 1e-3))
    assert distance(off, large) == 0
    assert distance(off, small) > 0


def test_statistics_ignore_the_failed_attempt(go):
    """The running statistics after a step with micro-batches come from these only: the failed attempt has no effect."""
    outputs = []

    def change(network):
        tight(2, norm=True)(network)
        network.encoder.blocks[0][0].register_forward_hook(
            lambda module, _, output: outputs.append(output.detach().mean((0, 2, 3))) if module.training else None
        )

    state, _ = go(count=4, batch_size=4, epochs=1, change=change, learning_rate=1e-12)
    failed, first, second = outputs
    found = state.model.network.encoder.blocks[0][1].running_mean
    torch.testing.assert_close(found, 0.9 * 0.1 * first + 0.1 * second)
    assert not torch.allclose(found, 0.9 * (0.9 * 0.1 * failed + 0.1 * first) + 0.1 * second)


def test_two_images_that_do_not_fit_are_an_error(go):
    """If not even two images fit, the run ends with the error of the device."""
    with pytest.raises(torch.OutOfMemoryError):
        go(count=8, batch_size=8, change=tight(1))


def test_validation_uses_micro_batches_as_training_does(go):
    """After a batch was split, validation uses micro-batches of the same size, even if it fitted more before."""

    class Small(Tight):
        def forward(self, images):
            if len(images) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return images

    def change(network):
        network.classifier = nn.Sequential(network.classifier, Small(3))

    _, results = go(count=8, batch_size=8, epochs=1, change=change)
    assert results[0].micro_batch == 2


def test_averages_copy_integers():
    """An index table of a network is equal in its average at every decay; floats follow the formula."""
    network = nn.Module()
    network.register_buffer("table", torch.arange(200_000))
    network.weight = nn.Parameter(torch.ones(3))
    for decay in (0.5, 0.9, 0.9999):
        average = moving_average(network, decay)
        for _ in range(30):
            average.update_parameters(network)
        assert torch.equal(average.module.table, network.table)
        torch.testing.assert_close(average.module.weight, network.weight)
