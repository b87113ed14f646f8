"""The self-supervised training loop, for all methods. Read it from top to bottom."""

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
MOST_HELD_OUT = 2048  # images used for validation, matched batch by batch; more would not make the result much more precise


@dataclass(frozen=True)
class PretrainingResult:
    """Results of one epoch, or of the steps between two validations.

    `epoch` counts from 1, `steps` from the start of training. Losses are means over images. `contrastive_accuracy` is the share
    of held-out views that are matched with the other view of their image among all views of a batch. It and `val_loss` are None
    with too few held-out images; it is None for a method that matches no views. `seconds` are wall time, including validation;
    `images_per_second` covers training only. `cpu_seconds` is the CPU time of the process.
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
    cpu_seconds: float | None = None

    @property
    def best(self) -> bool:
        """True: the last weights are kept, whatever the results are."""
        return True

    @property
    def row(self) -> dict[str, Any]:
        """The row of the epochs table."""
        return asdict(self)

    @property
    def record_columns(self) -> dict[str, Any]:
        """No columns: the record gets its numbers after training has ended."""
        return {}

    def reading(self, keep: str) -> Reading:
        """Raise `NotImplementedError`: results of self-supervised training are never compared."""
        raise NotImplementedError(f"{keep} is not a measure of self-supervised training")

    @property
    def summary(self) -> str:
        """The main result, as a phrase."""
        if self.contrastive_accuracy is None:
            return f"training loss {self.train_loss:.3f}"
        return f"contrastive accuracy {self.contrastive_accuracy:.3f}"


def start_pretraining(
    method: Method, recipe: PretrainingRecipe, device: Device, checkpoint: Path, world: World
) -> TrainingState[Method]:
    """Return the state from which training starts: that of the checkpoint if there is one, otherwise the method as it is."""
    world.synchronise(method.network, device)
    method.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    state = TrainingState(method, _optimizer(method, recipe))
    load_checkpoint(state, checkpoint)
    return state


def _optimizer(method: Method, recipe: PretrainingRecipe) -> torch.optim.Optimizer:
    """Return Adam or LARS. Biases and normalisation are not decayed, and LARS does not adapt their rates, as in SimCLR."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    weights: dict[str, Any] = {"params": [each for each in trained if each.dim() > 1], "weight_decay": recipe.weight_decay}
    others: dict[str, Any] = {"params": [each for each in trained if each.dim() <= 1], "weight_decay": 0.0}
    groups = [weights, others]
    if recipe.optimizer == "lars":
        weights["always_adapt"] = True  # timm does not adapt groups with a weight decay of 0
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
    """Train from the state to the end of the recipe, and yield one result per epoch; the last weights are kept.

    Only the images of the two sets are used, not their masks. The checkpoint holds the state after each result. An interrupted
    run that is started again first yields the results of the checkpoint, then continues with the same numbers as an uninterrupted
    run. The learning rate rises linearly, then falls along a cosine. All processes of a world call this with the same arguments
    and share every batch; the main process writes the checkpoint.

    Raises:
        NonFiniteLossError: A loss became NaN or infinite.
        UserError: A batch is too small to match images, smaller than the number of processes, or too large for the device.
    """
    # ---- resume: yield the results that the checkpoint holds, since their report may have been lost ----
    yield from (PretrainingResult(**row) for row in state.history)

    # ---- length and batches: an epoch shows every image once ----
    assert train_set.augmentable
    assert val_set.augmentable
    _check_batch(len(train_set), recipe, world)
    count, least = len(train_set), max(2, world.size)
    steps_per_epoch = len(epoch_batches(count, recipe.batch_size, seed, 0, least))
    steps = recipe.length.end_step(recipe.length.results, steps_per_epoch)

    # ---- the method, and its copy that averages gradients over the processes ----
    method = state.model
    matching = _Matching(method, recipe, device, world)
    parallel = world.parallel(method, device)

    while state.results < recipe.length.results:
        # ---- prepare the epoch: steps, batches and random numbers follow from seed and epoch, so a resumed run repeats them ----
        start, cpu_start, epoch = time.perf_counter(), time.process_time(), state.results
        first, last = (recipe.length.end_step(result, steps_per_epoch) for result in (epoch, epoch + 1))
        batches = list(step_batches(count, recipe.batch_size, seed, first, last, steps_per_epoch, least))
        chance = torch.Generator().manual_seed(seed_for("views", seed, epoch))
        totals, seen, learning_rate = torch.zeros(2, device=device.torch), 0, recipe.learning_rate
        method.train()

        # ---- train: one optimiser step per batch; the totals stay on the device, so that no step waits for them ----
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
                totals, seen = totals + torch.stack([loss, matched]).detach() * len(batch), seen + len(batch)
        train_loss, train_accuracy = (totals / seen).tolist()
        finite(train_loss, "training loss", epoch, recipe.learning_rate)
        images_per_second = seen / (time.perf_counter() - start)

        # ---- validate: match held-out images, whose views are the same after every epoch ----
        val_loss, val_accuracy = _held_out(matching, val_set)

        # ---- keep the result; the kept weights are always the last ----
        result = PretrainingResult(
            epoch=epoch + 1,
            steps=last,
            train_loss=train_loss,
            train_contrastive_accuracy=_known(train_accuracy),
            val_loss=val_loss and finite(val_loss, "validation loss", epoch, recipe.learning_rate),
            contrastive_accuracy=val_accuracy,
            learning_rate=learning_rate,
            seconds=time.perf_counter() - start,
            images_per_second=images_per_second,
            cpu_seconds=time.process_time() - cpu_start,
        )
        state.history.append(asdict(result))

        # ---- checkpoint before the result is reported: a reported result is never lost ----
        if world.main:
            save_checkpoint(state, checkpoint)
        yield result


@dataclass(frozen=True)
class _Matching:
    """The loss of one batch, computed in the same way in training and in validation."""

    method: Method
    recipe: PretrainingRecipe
    device: Device
    world: World

    def __call__(self, network: nn.Module, images: Tensor, count: int, chance: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss and the share of correct matches of a batch of `count` images, two scalars.

        `images` (B, 3, H, W), uint8, are this process's images of the batch. `network` is the method, or `World.parallel` of it.
        """
        rows = self.world.share(np.arange(count))
        views = normalise(self.method.views(images, count, rows, chance), self.recipe.normalisation)
        with torch.autocast(self.device.torch.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            output = network(views)
        return self.method.loss(output.float(), count, self.world)


@contextmanager
def _memory_error_explained(recipe: PretrainingRecipe, device: Device) -> Iterator[None]:
    """Turn an out-of-memory error into a `UserError`. A batch cannot be split, since each image is matched among all others."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise UserError(
            f"ssl_batch_size={recipe.batch_size}: the views of {recipe.batch_size} images at {recipe.image_px} px do not fit the "
            f"memory of {device.label}; use a smaller batch, a smaller source_image_px, or --workers-per-stage"
        ) from None


def _held_out(matching: _Matching, val_set: BatchSource) -> tuple[float | None, float | None]:
    """Return the loss and the share of correct matches on held-out images; None for both with too few images.

    Both are None with too few images; the share is None for a method that matches no views. The views of held-out images are the
    same after every epoch.
    """
    method, world = matching.method, matching.world
    batches = held_out_batches(len(val_set), matching.recipe.batch_size, world.size)
    if not batches:
        return None, None
    chance = torch.Generator().manual_seed(seed_for("held-out views"))
    training, totals = method.training, torch.zeros(2, device=matching.device.torch)
    method.eval()
    with torch.inference_mode(), _memory_error_explained(matching.recipe, matching.device):
        local_batches = val_set.batches([world.share(batch) for batch in batches], matching.device)
        for batch, (images, _) in zip(batches, local_batches, strict=True):
            totals += torch.stack(matching(method, images, len(batch), chance)) * len(batch)
    method.train(training)
    loss, accuracy = (totals / sum(map(len, batches))).tolist()
    return loss, _known(accuracy)


def _known(share: float) -> float | None:
    """Return the share of matched views; None for the NaN of a method that matches no views."""
    return None if math.isnan(share) else share


def held_out_batches(count: int, batch_size: int, processes: int = 1) -> list[Indices]:
    """Return positions of held-out images in shuffled batches (B,) of about equal size; no batches for too few images."""
    order = np.random.default_rng(seed_for("held-out order")).permutation(count)[:MOST_HELD_OUT]
    most = len(order) // max(2, processes)
    return np.array_split(order, min(most, max(1, round(len(order) / batch_size)))) if most else []


def contrastive_chance(count: int, batch_size: int) -> float | None:
    """Return the chance level of contrastive accuracy on `count` held-out images; None with too few."""
    sizes = [len(batch) for batch in held_out_batches(count, batch_size)]
    return sum(size / (2 * size - 1) for size in sizes) / sum(sizes) if sizes else None


def _check_batch(count: int, recipe: PretrainingRecipe, world: World) -> None:
    batch = min(count, recipe.batch_size)
    if batch < 2:
        raise UserError(f"ssl_batch_size={recipe.batch_size} of {count} images: needs at least 2, to match their views")
    if batch < world.size:
        raise UserError(
            f"{world.size} workers cannot share a batch of {batch} images; use fewer workers or a larger ssl_batch_size"
        )
