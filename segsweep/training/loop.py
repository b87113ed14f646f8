"""The supervised training loop, used by source stages and trials. Read it from top to bottom."""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from segsweep.config.digest import seed_for
from segsweep.config.keep import Reading, reading
from segsweep.errors import UserError
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.training.augment import AUGMENTATIONS, augment, draw
from segsweep.training.batch_source import BatchSource
from segsweep.training.batches import epoch_batches, step_batches
from segsweep.training.checkpoint import TrainingState, load_checkpoint, moving_average, save_checkpoint
from segsweep.training.device import Device
from segsweep.training.evaluate import evaluate
from segsweep.training.frames import Frames
from segsweep.training.losses import make_objective
from segsweep.training.metrics import Scores
from segsweep.training.optimiser import build_optimizer
from segsweep.training.recipe import Recipe
from segsweep.training.step import Stepper
from segsweep.training.world import World


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite, which ends the run."""


@dataclass(frozen=True)
class EpochResult:
    """Results of one epoch, or of the steps between two validations.

    `epoch` counts from 1, `steps` from the start of training. Losses and `val_dice` are means over images. `learning_rate` is
    that of the head at the last step. `seconds` are wall time, including validation; `images_per_second` covers training only.
    `best` means that this epoch's weights are kept until those of a later epoch replace them. `micro_batch` is the number of
    images in one forward pass, smaller than the batch size if memory was short. `cpu_seconds` is the CPU time of the process:
    with one CPU thread, less than `seconds` means that other processes took the core.
    """

    epoch: int
    steps: int
    train_loss: float
    val_loss: float
    val: Scores
    val_dice: float
    learning_rate: float
    seconds: float
    images_per_second: float
    best: bool
    micro_batch: int | None = None
    cpu_seconds: float | None = None

    def reading(self, keep: str) -> Reading:
        """Return the value of the measure that decides which epoch is kept."""
        return reading(keep, val_iou=self.val.iou, val_loss=self.val_loss, val_dice=self.val_dice)

    @property
    def summary(self) -> str:
        """The main result, as a phrase."""
        return f"val IoU {self.val.iou:.3f}"

    @property
    def row(self) -> dict[str, Any]:
        """The row of the epochs table."""
        return {
            "epoch": self.epoch,
            "steps": self.steps,
            **self.record_columns,
            "val_precision": self.val.precision,
            "val_recall": self.val.recall,
            "learning_rate": self.learning_rate,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "micro_batch": self.micro_batch,
            "cpu_seconds": self.cpu_seconds,
        }

    @property
    def record_columns(self) -> dict[str, float]:
        """The columns that the row of an epoch shares with the record of a run that keeps this epoch's weights."""
        return {
            "train_loss": self.train_loss,
            "val_loss": self.val_loss,
            "val_iou": self.val.iou,
            "val_mean_iou": self.val.mean_iou,
            "val_f1": self.val.f1,
            "val_dice": self.val_dice,
            "val_accuracy": self.val.accuracy,
        }

    @classmethod
    def restore(cls, *, val: dict[str, Any], **values: Any) -> Self:
        """Return the result from the `asdict` form that a checkpoint holds."""
        return cls(val=Scores(**{**val, "class_iou": tuple(val["class_iou"])}), **values)


def start_state(
    model: SegmentationModel, recipe: Recipe, device: Device, checkpoint: Path, world: World | None = None
) -> TrainingState[SegmentationModel]:
    """Return the state from which training starts: that of the checkpoint if there is one, otherwise the model as it is."""
    if recipe.by_level:
        _ = model.encoder_levels  # runs a forward pass, which must precede the synchronisation of batch normalisation
    (world or World()).synchronise(model.network, device)
    model.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    average = moving_average(model, recipe.ema) if recipe.ema is not None else None
    state = TrainingState(model, build_optimizer(model, recipe), average)
    load_checkpoint(state, checkpoint)
    return state


def train(
    state: TrainingState[SegmentationModel],
    train_set: BatchSource,
    val_set: BatchSource,
    recipe: Recipe,
    *,
    seed: int,
    device: Device,
    checkpoint: Path,
    world: World | None = None,
    frames: Frames | None = None,
) -> Iterator[EpochResult]:
    """Train from the state to the end of the recipe, and yield one result per epoch.

    The checkpoint holds the state after each result. An interrupted run that is started again first yields the results of the
    checkpoint, then continues with the same numbers as an uninterrupted run. `state.best` holds the weights of the best epoch by
    `recipe.keep`, the first of equal ones. Order, augmentation and dropout depend on `seed` and the epoch only. All processes of
    a world call this with the same arguments and share every batch; the main process writes the checkpoint and `frames`.

    Raises:
        NonFiniteLossError: A loss became NaN or infinite.
        UserError: A batch has fewer examples than the world has processes.
    """
    world = world or World()

    # ---- resume: yield the results that the checkpoint holds, since their report may have been lost ----
    yield from (EpochResult.restore(**row) for row in state.history)

    # ---- length and batches: an epoch shows every example once, and each of its augmented copies once ----
    if min(len(train_set), recipe.batch_size) < world.size:
        raise UserError(
            f"{world.size} workers cannot share a batch of {min(len(train_set), recipe.batch_size)} images; "
            "use fewer workers or a larger batch_size"
        )
    count, least = len(train_set) * (1 + recipe.augmented_copies), max(2, world.size)
    steps_per_epoch = len(epoch_batches(count, recipe.batch_size, seed, 0, least))
    steps = recipe.length.end_step(recipe.length.results, steps_per_epoch)

    # ---- augmentation, objective and stepper: batch sources such as cached features cannot be augmented ----
    augmentation = AUGMENTATIONS[recipe.augmentation]
    assert train_set.augmentable or (recipe.augmentation == "none" and not recipe.augmented_copies)
    model, data = state.model, train_set.data
    objective = make_objective(recipe.loss, data.classes, data.class_frequencies(train_set.members), data.foreground)
    stepper = Stepper(state, recipe, objective, train_set, device, world)

    # ---- frame 0: the predictions for a few validation images before the first step ----
    shown = frames.count if frames is not None else 0
    validate = partial(
        evaluate, examples=shown, precision=recipe.precision, device=device, normalisation=recipe.normalisation, world=world
    )
    if frames is not None and state.results == 0:
        before = validate(state.evaluated, val_set.first(shown), batch_size=stepper.micro_batch)
        if world.main:
            frames.keep(0, before.examples)

    while state.results < recipe.length.results and not _plateau(state, recipe.patience_epochs):
        # ---- prepare the epoch: steps, batches and random numbers follow from seed and epoch, so a resumed run repeats them ----
        start, cpu_start, epoch = time.perf_counter(), time.process_time(), state.results
        first, last = (recipe.length.end_step(result, steps_per_epoch) for result in (epoch, epoch + 1))
        batches = list(step_batches(count, recipe.batch_size, seed, first, last, steps_per_epoch, least))
        chance = torch.Generator().manual_seed(seed_for("augmentation", seed, epoch))
        total, seen, learning_rate = torch.zeros((), device=device.torch), 0, recipe.learning_rate
        stepper.unfreeze(epoch)
        model.train()

        # ---- train: one optimiser step per batch; the loss stays on the device, so that no step waits for it ----
        with torch.random.fork_rng(devices=[device.torch] if device.cuda else []):
            torch.manual_seed(seed_for("dropout", seed, epoch, *([world.rank] if world.rank else [])))
            local_batches = train_set.batches([world.share(batch) % len(train_set) for batch in batches], device)
            for step, (batch, (inputs, masks)) in enumerate(zip(batches, local_batches, strict=True), start=first):
                if train_set.augmentable:  # drawn for the whole batch, so that any number of processes sees the same images
                    rows = world.share(np.arange(len(batch)))
                    drawn = draw(augmentation, len(batch), chance).rows(rows)
                    copies = batch[rows] >= len(train_set) if recipe.augmented_copies else None
                    inputs, masks = augment(augmentation, inputs, masks, drawn, copies)
                learning_rate = stepper.set_learning_rate(step, steps)
                total += stepper.step(inputs, masks, len(batch)) * len(batch)
                seen += len(batch)
        train_loss = finite(float(world.total(total)) / seen, "training loss", epoch, recipe.learning_rate)
        images_per_second = seen / (time.perf_counter() - start)

        # ---- validate: the moving average of the weights if the recipe has one, otherwise the weights ----
        held_out = validate(state.evaluated, val_set, loss=objective, batch_size=stepper.micro_batch)
        val_loss = finite(held_out.loss, "validation loss", epoch, recipe.learning_rate)

        # ---- keep the result, and the weights if it is the best so far ----
        found = reading(recipe.keep, val_iou=held_out.scores.iou, val_loss=val_loss, val_dice=held_out.dice)
        result = EpochResult(
            epoch=epoch + 1,
            steps=last,
            train_loss=train_loss,
            val_loss=val_loss,
            val=held_out.scores,
            val_dice=held_out.dice,
            learning_rate=learning_rate,
            seconds=time.perf_counter() - start,
            images_per_second=images_per_second,
            best=recipe.keep == "last" or found > state.best_reading,
            micro_batch=stepper.micro_batch,
            cpu_seconds=time.process_time() - cpu_start,
        )
        state.history.append(asdict(result))
        state.read(found)
        if result.best:
            state.keep()

        # ---- checkpoint before the result is reported: a reported result is never lost ----
        if world.main:
            if frames is not None:
                frames.keep(state.results, held_out.examples)
            save_checkpoint(state, checkpoint)
        yield result


def best_result(state: TrainingState[SegmentationModel]) -> EpochResult:
    """Return the result of the epoch whose weights are kept."""
    return EpochResult.restore(**state.history[state.kept_result - 1])


def _plateau(state: TrainingState[SegmentationModel], patience: int | None) -> bool:
    return patience is not None and state.results - state.best_result >= patience


def finite(loss: float, which: str, epoch: int, learning_rate: float) -> float:
    """Return the loss. Raises `NonFiniteLossError` if it is NaN or infinite."""
    if not math.isfinite(loss):
        raise NonFiniteLossError(f"{which} is {loss} in epoch {epoch + 1} at learning_rate={learning_rate}")
    return loss
