"""The training loop of encoders without labels, for all methods. It is meant to be read from top to bottom."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.optim.lars import Lars
from torch import Tensor, nn

from segsweep.config.digest import seed_for
from segsweep.config.keep import Reading
from segsweep.data.splits import Indices
from segsweep.errors import UserError
from segsweep.training.batch_source import BatchSource
from segsweep.training.batches import epoch_batches, normalise, step_batches
from segsweep.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from segsweep.training.device import Device
from segsweep.training.loop import finite
from segsweep.training.lr_schedule import learning_rate_share
from segsweep.training.optimiser import clip_gradients
from segsweep.training.self_supervised_method import Method, PretrainingRecipe
from segsweep.training.world import World

LARS_MOMENTUM = 0.9
MATCHED_IN_ALL = 2048  # images; held-out images are matched batch by batch, and this number is precise enough


@dataclass(frozen=True)
class PretrainingResult:
    """Results of one epoch, or of the steps between two validations.

    Losses are means over images. `contrastive_accuracy` is the share of held-out views that were matched with the other
    view of their image, among all views of a batch; None where too few are held out, as `val_loss`, and for a method that matches
    no views.
    """

    epoch: int
    steps: int
    train_loss: float
    train_contrastive_accuracy: float | None
    val_loss: float | None
    contrastive_accuracy: float | None
    learning_rate: float
    seconds: float
    images_per_second: float

    @property
    def best(self) -> bool:
        """Whether the weights are kept until others are: the last are, whatever the results say."""
        return True

    @property
    def row(self) -> dict[str, Any]:
        """The row of the epochs table."""
        return asdict(self)

    @property
    def record_columns(self) -> dict[str, Any]:
        """Nothing: the record gets its numbers once training has ended."""
        return {}

    def reading(self, keep: str) -> Reading:
        """Raise an error: nothing is compared by the results of training without labels."""
        raise NotImplementedError(f"{keep} is no measure of self-supervised training")

    @property
    def summary(self) -> str:
        """The main result, as a phrase."""
        if self.contrastive_accuracy is None:
            return f"training loss {self.train_loss:.3f}"
        return f"contrastive accuracy {self.contrastive_accuracy:.3f}"


def start_pretraining(
    method: Method, recipe: PretrainingRecipe, device: Device, checkpoint: Path, world: World
) -> TrainingState[Method]:
    """Return the state from which training begins: that of the checkpoint where there is one, else the method as it is."""
    world.synchronise(method.network, device)
    method.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    state = TrainingState(method, _optimizer(method, recipe))
    load_checkpoint(state, checkpoint)
    return state


def _optimizer(method: Method, recipe: PretrainingRecipe) -> torch.optim.Optimizer:
    """Return Adam or LARS; biases and normalisation are neither decayed nor adapted by LARS, as SimCLR has it."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    weights: dict[str, Any] = {"params": [each for each in trained if each.dim() > 1], "weight_decay": recipe.weight_decay}
    others: dict[str, Any] = {"params": [each for each in trained if each.dim() <= 1], "weight_decay": 0.0}
    groups = [weights, others]
    if recipe.optimizer == "lars":
        weights["always_adapt"] = True  # timm would not adapt what is not decayed
        return Lars(groups, lr=recipe.learning_rate, momentum=LARS_MOMENTUM)
    assert recipe.optimizer == "adam", recipe.optimizer
    return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)


def pretrain(
    state: TrainingState[Method],
    train_set: BatchSource,
    val_set: BatchSource,
    recipe: PretrainingRecipe,
    *,
    seed: int,
    device: Device,
    checkpoint: Path,
    world: World,
) -> Iterator[PretrainingResult]:
    """Train from the state to the end of the recipe, and yield a result per epoch; the last weights are kept.

    The sets give images; their masks are not used. The checkpoint holds the state after each result: a run that is interrupted
    and started again first yields the results of the checkpoint, then continues with the same numbers. The learning rate rises,
    then falls along a cosine. All processes of a world call this with the same arguments and share every batch. Raises
    `NonFiniteLossError`, and `UserError` for batches that are too small or too large for the device.
    """
    # ---- resume: first the results that the checkpoint holds ----
    yield from (PretrainingResult(**row) for row in state.history)

    # ---- length and batches: an epoch shows every image once ----
    assert train_set.augmentable
    assert val_set.augmentable
    _check_batch(len(train_set), recipe, world)
    count, least = len(train_set), max(2, world.size)
    steps_per_epoch = len(epoch_batches(count, recipe.batch_size, seed, 0, least))
    steps = recipe.length.end_step(recipe.length.results, steps_per_epoch)
    method = state.model
    matching = _Matching(method, recipe, device, world)
    parallel = world.parallel(method, device)

    while state.results < recipe.length.results:
        # ---- one epoch of optimiser steps ----
        start, epoch = time.perf_counter(), state.results
        first, last = (recipe.length.end_step(result, steps_per_epoch) for result in (epoch, epoch + 1))
        batches = list(step_batches(count, recipe.batch_size, seed, first, last, steps_per_epoch, least))
        chance = torch.Generator().manual_seed(seed_for("views", seed, epoch))
        tally, seen, learning_rate = torch.zeros(2, device=device.torch), 0, recipe.learning_rate
        method.train()
        with torch.random.fork_rng(devices=[device.torch] if device.cuda else []):
            torch.manual_seed(seed_for("dropout", seed, epoch, *([world.rank] if world.rank else [])))
            local_batches = train_set.batches([world.share(batch) for batch in batches], device)
            for step, (batch, (images, _)) in enumerate(zip(batches, local_batches, strict=True), start=first):
                learning_rate = recipe.learning_rate * learning_rate_share("cosine", step, steps, recipe.warmup)
                for group in state.optimizer.param_groups:
                    group["lr"] = learning_rate
                with _memory_error_explained(recipe, device):
                    state.optimizer.zero_grad(set_to_none=True)
                    loss, matched = matching(parallel, images, len(batch), chance)
                    (loss * world.size).backward()  # type: ignore[no-untyped-call]  # gradients are averaged over the world
                    clip_gradients(method, recipe.gradient_clip_norm)
                    state.optimizer.step()
                    method.after_step()
                tally, seen = tally + torch.stack([loss, matched]).detach() * len(batch), seen + len(batch)
        train_loss, train_right = (tally / seen).tolist()
        finite(train_loss, "training loss", epoch, recipe.learning_rate)
        images_per_second = seen / (time.perf_counter() - start)

        # ---- validation ----
        val_loss, right = _held_out(matching, val_set)

        # ---- what is kept: the result, and always the last weights ----
        result = PretrainingResult(
            epoch=epoch + 1,
            steps=last,
            train_loss=train_loss,
            train_contrastive_accuracy=_known(train_right),
            val_loss=val_loss and finite(val_loss, "validation loss", epoch, recipe.learning_rate),
            contrastive_accuracy=right,
            learning_rate=learning_rate,
            seconds=time.perf_counter() - start,
            images_per_second=images_per_second,
        )
        state.history.append(asdict(result))

        # ---- checkpoint: written before anyone learns of the result ----
        if world.main:
            save_checkpoint(state, checkpoint)
        yield result


@dataclass(frozen=True)
class _Matching:
    """One batch through a method, in training and held out alike."""

    method: Method
    recipe: PretrainingRecipe
    device: Device
    world: World

    def __call__(self, network: nn.Module, images: Tensor, count: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return loss and share of right matches of a batch of `count` images, of which `images` are this process's.

        `network` is the method, or what the world has made of it.
        """
        rows = self.world.share(np.arange(count))
        views = normalise(self.method.views(images, count, rows, chance), self.recipe.normalisation)
        with torch.autocast(self.device.torch.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            output = network(views)
        return self.method.loss(output.float(), count, self.world)


@contextmanager
def _memory_error_explained(recipe: PretrainingRecipe, device: Device) -> Iterator[None]:
    """Turn an out-of-memory error into a `UserError`: a batch cannot be cut, since each of its images is matched among all."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            f"ssl_batch_size={recipe.batch_size}: the views of {recipe.batch_size} images at {recipe.image_px} px do not fit the "
            f"memory of {device.label}; take a smaller batch, a smaller source_image_px, or --workers-per-stage"
        ) from None


def _held_out(matching: _Matching, val_set: BatchSource) -> tuple[float | None, float | None]:
    """Return loss and share of right matches on held-out images, whose views are the same after every epoch.

    Both are None for fewer images than can be matched; the share is None for a method that matches no views.
    """
    method, world = matching.method, matching.world
    batches = held_out_batches(len(val_set), matching.recipe.batch_size, world.size)
    if not batches:
        return None, None
    chance = torch.Generator().manual_seed(seed_for("held-out views"))
    training, tally = method.training, torch.zeros(2, device=matching.device.torch)
    method.eval()
    with torch.inference_mode(), _memory_error_explained(matching.recipe, matching.device):
        local_batches = val_set.batches([world.share(batch) for batch in batches], matching.device)
        for batch, (images, _) in zip(batches, local_batches, strict=True):
            tally += torch.stack(matching(method, images, len(batch), chance)) * len(batch)
    method.train(training)
    loss, right = (tally / sum(map(len, batches))).tolist()
    return loss, _known(right)


def _known(share: float) -> float | None:
    """Return the share of views that were matched; None for the NaN of a method that matches none."""
    return None if math.isnan(share) else share


def held_out_batches(count: int, batch_size: int, processes: int = 1) -> list[Indices]:
    """Return positions of held-out images in about equal batches, mixed as in training; none for too few images."""
    order = np.random.default_rng(seed_for("held-out order")).permutation(count)[:MATCHED_IN_ALL]
    most = len(order) // max(2, processes)
    return np.array_split(order, min(most, max(1, round(len(order) / batch_size)))) if most else []


def contrastive_chance(count: int, batch_size: int) -> float | None:
    """Return the chance level of contrastive accuracy on `count` held-out images; None with too few."""
    sizes = [len(batch) for batch in held_out_batches(count, batch_size)]
    return sum(size / (2 * size - 1) for size in sizes) / sum(sizes) if sizes else None


def _check_batch(count: int, recipe: PretrainingRecipe, world: World) -> None:
    batch = min(count, recipe.batch_size)
    if batch < 2:
        raise UserError(f"ssl_batch_size={recipe.batch_size} of {count} images: needs at least 2, to tell them apart")
    if batch < world.size:
        raise UserError(f"{world.size} workers cannot share a batch of {batch} images; give fewer, or a larger ssl_batch_size")
