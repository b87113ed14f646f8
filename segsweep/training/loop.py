"""The training loop: the same for source stages and for trials. It is meant to be read from top to bottom."""

import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from segsweep.config.digest import seed_for
from segsweep.data.splits import Indices
from segsweep.errors import UserError
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.training.batches import PictureSet, epoch_batches, flip, load_batches, normalise
from segsweep.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from segsweep.training.device import Device
from segsweep.training.evaluate import evaluate
from segsweep.training.losses import shared_loss
from segsweep.training.metrics import Scores, scores
from segsweep.training.world import World

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; the run ends with this reason."""


@dataclass(frozen=True)
class Length:
    """How long a run is: in `epochs`, or in optimiser `steps` with so many equally spaced `validations`."""

    epochs: int | None
    steps: int | None
    validations: int | None

    @property
    def results(self) -> int:
        """How many results a full run yields."""
        return self.epochs or self.validations or 1

    def end_step(self, result: int, steps_per_epoch: int) -> int:
        """Return after how many optimiser steps a result is due; result 0 is the start."""
        if self.steps is None:
            return result * steps_per_epoch
        return result * self.steps // self.results


@dataclass(frozen=True)
class EpochResult:
    """What one epoch (or one stretch of steps) gave. Losses are means over images; `seconds` are wall time."""

    epoch: int
    steps: int
    train_loss: float
    val_loss: float
    val: Scores
    learning_rate: float
    seconds: float
    images_per_second: float
    best: bool

    @classmethod
    def restore(cls, *, val: dict[str, Any], **values: Any) -> Self:
        """Return the result whose `asdict` was kept in a checkpoint."""
        return cls(val=Scores(**{**val, "class_iou": tuple(val["class_iou"])}), **values)


@dataclass(frozen=True)
class Recipe:
    """What the loop is told. Every field is explained in `segsweep.config.Settings`."""

    learning_rate: float
    length: Length
    batch_size: int
    loss: str
    optimizer: str
    weight_decay: float
    augmentation: str
    precision: str
    patience_epochs: int | None = None


def start_state(
    model: SegmentationModel, recipe: Recipe, device: Device, checkpoint: Path, world: World | None = None
) -> TrainingState:
    """Return the state from which training begins: that of the checkpoint where there is one, else the model as it is."""
    (world or World()).synchronise(model.network, device)
    model.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    optimizer = OPTIMIZERS[recipe.optimizer](
        list(model.trainable()), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )  # fused: one call a step instead of six a tensor, five times as fast on a CPU too
    state = TrainingState(model, optimizer)
    load_checkpoint(state, checkpoint)
    return state


def train(
    state: TrainingState,
    train_set: PictureSet,
    val_set: PictureSet,
    recipe: Recipe,
    *,
    seed: int,
    device: Device,
    checkpoint: Path,
    world: World | None = None,
) -> Iterator[EpochResult]:
    """Train from where the state is to the end of the recipe, and yield a result per epoch.

    After each result the state is in the checkpoint; a run that is broken off and started again first yields the results
    that it had, then continues with the same numbers. `state.best` holds the weights of the epoch with the lowest
    validation loss. Order, augmentation and dropout depend on `seed` and the epoch alone. The processes of a world call
    this alike, and share every batch. Raises `NonFiniteLossError`, and `UserError` for fewer pictures than processes.
    """
    yield from (EpochResult.restore(**past) for past in state.history)
    world = world or World()
    if min(len(train_set), recipe.batch_size) < world.size:
        raise UserError(
            f"{world.size} workers cannot share a batch of {min(len(train_set), recipe.batch_size)} pictures; "
            "give fewer workers or a larger batch_size"
        )
    model, optimizer, parallel = state.model, state.optimizer, world.parallel(state.model, device)
    steps_per_epoch = len(epoch_batches(len(train_set), recipe.batch_size, seed, 0, max(2, world.size)))
    while state.results < recipe.length.results and not _plateau(state, recipe.patience_epochs):
        start, epoch = time.perf_counter(), state.results
        first, last = (recipe.length.end_step(result, steps_per_epoch) for result in (epoch, epoch + 1))
        batches = list(_step_batches(len(train_set), recipe.batch_size, seed, first, last, steps_per_epoch, world.size))
        chance = torch.Generator().manual_seed(seed_for("augmentation", seed, epoch))
        total, seen = torch.zeros((), device=device.torch), 0
        model.train()
        with torch.random.fork_rng(devices=[device.torch] if device.cuda else []):
            torch.manual_seed(seed_for("dropout", seed, epoch, *([world.rank] if world.rank else [])))
            shares = load_batches(train_set, [world.share(batch) for batch in batches], device)
            for batch, (images, masks) in zip(batches, shares, strict=True):
                if recipe.augmentation == "flip":
                    drawn = torch.rand(len(batch), generator=chance)
                    images, masks = flip(images, masks, drawn[world.share(np.arange(len(batch)))])
                with torch.autocast(device.torch.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                    logits_BCHW = parallel(normalise(images))
                loss, part = shared_loss(recipe.loss, logits_BCHW.float(), masks, len(batch), world)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += part * len(batch)
                seen += len(batch)
        train_loss = _finite(float(world.total(total)) / seen, "training loss", epoch, recipe)
        images_per_second = seen / (time.perf_counter() - start)
        held_out = evaluate(
            model,
            val_set,
            loss=recipe.loss,
            batch_size=recipe.batch_size,
            precision=recipe.precision,
            device=device,
            world=world,
        )
        val_loss = _finite(held_out.loss, "validation loss", epoch, recipe)
        result = EpochResult(
            epoch=epoch + 1,
            steps=last,
            train_loss=train_loss,
            val_loss=val_loss,
            val=scores(held_out.confusion_CC),
            learning_rate=recipe.learning_rate,
            seconds=time.perf_counter() - start,
            images_per_second=images_per_second,
            best=val_loss < state.best_loss,
        )
        state.history.append(asdict(result))
        if result.best:
            state.keep_best(val_loss)
        if world.main:
            save_checkpoint(state, checkpoint)
        yield result


def best_result(state: TrainingState) -> EpochResult:
    """Return the result of the epoch whose weights are kept."""
    return EpochResult.restore(**state.history[state.best_result - 1])


def _plateau(state: TrainingState, patience: int | None) -> bool:
    return patience is not None and state.results - state.best_result >= patience


def _finite(loss: float, which: str, epoch: int, recipe: Recipe) -> float:
    if not math.isfinite(loss):
        raise NonFiniteLossError(f"{which} is {loss} in epoch {epoch + 1} at learning_rate={recipe.learning_rate}")
    return loss


def _step_batches(
    count: int, batch_size: int, seed: int, first: int, last: int, steps_per_epoch: int, processes: int
) -> Iterator[Indices]:
    """Yield the batches of optimiser steps first..last-1 of an endless row of epochs."""
    for epoch in itertools.count(first // steps_per_epoch):
        batches = epoch_batches(count, batch_size, seed, epoch, max(2, processes))
        yield from batches[max(0, first - epoch * steps_per_epoch) : max(0, last - epoch * steps_per_epoch)]
        if last <= (epoch + 1) * steps_per_epoch:
            return
