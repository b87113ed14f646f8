"""Too little memory: the batch is split, the gradient stays equal, the record states it, and no memory stays allocated."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from gpu.drawn import draw_sets
from gpu.part_context import PartContext
from gpu.rows import Row, at_most, equal, holds, note
from gpu.runs import Run, recipe_of
from segsweep import Study, Target
from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.store.contents import SPEEDS
from segsweep.store.folder import FolderStore
from segsweep.sweep.run import run
from segsweep.training import step as step_module
from segsweep.training.loop import start_state
from segsweep.training.losses import make_objective
from segsweep.training.speed import measure_speed
from segsweep.training.step import Stepper
from segsweep.training.world import World

BATCH = 32
MIB = 2**20


@contextmanager
def limited(part_context: PartContext, limit_bytes: float) -> Iterator[None]:
    """Limit torch to this many bytes on the card, including memory that is allocated already."""
    total = torch.cuda.get_device_properties(0).total_memory
    part_context.release()
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        part_context.release()


def gradient_of_a_cut_batch(part_context: PartContext) -> Iterator[Row]:
    """Yield whether steps with enough and with too little memory have equal loss and gradients, with fewer images per pass."""
    whole = _one_step(part_context, limit_bytes=None)
    used = whole["peak"]
    limits = (0.7, 0.4) if part_context.device.cuda else (None,)
    for share in limits:
        found = _one_step(
            part_context, limit_bytes=None if share is None else whole["resting"] + share * (used - whole["resting"])
        )
        label = f"at {share:g} of the activations' memory" if share else "without a limit"
        yield at_most(f"loss, {label}", abs(found["loss"] - whole["loss"]) / whole["loss"], 1e-4)
        yield at_most(
            f"gradient, {label}", float((found["gradient"] - whole["gradient"]).norm() / whole["gradient"].norm()), 1e-3
        )
        if share:
            yield at_most(f"images at once, {label}", found["micro_batch"], BATCH // 2)
            yield at_most(
                f"allocated before the second attempt, {label}", found["before_retry"] - whole["resting"] / MIB, 128, "MiB"
            )
    yield note("memory of weights and state / at peak", f"{whole['resting'] / MIB:.0f} / {used / MIB:.0f}", "MiB")


def _one_step(part_context: PartContext, limit_bytes: float | None) -> dict:
    """Make one step of plain gradient descent; normalisation is frozen, so that micro-batches have the same statistics."""
    batch, image_px = part_context.size(BATCH, 4), part_context.size(128, 32)
    sets = draw_sets(batch, 2, image_px, ignored=True)
    recipe = recipe_of(1, batch_size=batch, optimizer="sgd", learning_rate=1e-9)
    model = build_model(part_context.size("unet-resnet18", "unet16"), 2, seed=0)
    freeze(model, "norm")
    state = start_state(model, recipe, part_context.device, part_context.folder / "none.safetensors")
    stepper = Stepper(state, recipe, make_objective("cross_entropy", ("a", "b")), sets[0], part_context.device, World())
    model.train()
    ((images, masks),) = sets[0].batches([sets[0].members], part_context.device)
    allocated: list[float] = []
    resting = _allocated(part_context)
    backward = stepper._backward

    def watched(*values: object) -> Tensor | None:
        allocated.append(torch.cuda.memory_allocated() / MIB if part_context.device.cuda else 0.0)
        return backward(*values)

    stepper._backward = watched
    if limit_bytes is None:
        loss = float(stepper.step(images, masks, batch))
    else:
        with limited(part_context, limit_bytes):
            loss = float(stepper.step(images, masks, batch))
    gradient = torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None]).cpu()
    return {
        "loss": loss,
        "gradient": gradient,
        "micro_batch": stepper.micro_batch,
        "resting": resting,
        "peak": torch.cuda.max_memory_allocated() if part_context.device.cuda else 0,
        "before_retry": max(allocated[1:], default=0.0),
    }


def _allocated(part_context: PartContext) -> int:
    part_context.release()
    return torch.cuda.memory_allocated() if part_context.device.cuda else 0


def a_run_with_too_little(part_context: PartContext) -> Iterator[Row]:
    """Yield whether a whole run under a limit ends, and its results record the size of the micro-batch."""
    yield from runs_with_too_little(part_context, limited)


def runs_with_too_little(
    part_context: PartContext, limit: Callable[[PartContext, float], AbstractContextManager[None]]
) -> Iterator[Row]:
    """Yield the outcome of runs in both precisions if `limit` leaves 0.6 of the memory that they would use."""
    if not part_context.device.cuda:
        return
    sets = draw_sets(2 * BATCH, BATCH, 128)
    for precision, optimizer, ema in (("float32", "adam", None), ("bfloat16", "adamw", 0.9)):
        recipe = recipe_of(2, batch_size=BATCH, precision=precision, optimizer=optimizer, ema=ema)
        free = Run("unet-resnet18", sets, recipe, part_context.device, part_context.folder / f"free-{precision}").go()
        peak = torch.cuda.max_memory_allocated()
        with limit(part_context, 0.6 * peak):
            tight = Run("unet-resnet18", sets, recipe, part_context.device, part_context.folder / f"tight-{precision}").go()
        recorded = [each.micro_batch for each in tight]
        yield holds(
            f"{precision}: recorded images at once",
            max(recorded) < BATCH and recorded == sorted(recorded, reverse=True),
            str(recorded),
        )
        yield equal(f"{precision}: with enough memory", str([each.micro_batch for each in free]), str([BATCH, BATCH]))
        yield note(
            f"{precision}: last validation loss, enough / too little", f"{free[-1].val_loss:.4f} / {tight[-1].val_loss:.4f}"
        )


def a_study_with_too_little(part_context: PartContext) -> Iterator[Row]:
    """Yield whether a trial of a study under a limit records the size of the micro-batch."""
    study = Study(
        name="tight",
        target=Target("generated_pets", protocol="70-10-20"),
        compare={"source": ["random"]},
        fixed={"architecture": "unet16", "image_px": 128, "epochs": 1, "batch_size": 64, "fraction": 0.2, "learning_rate": 1e-3},
        seeds=1,
    )
    values = {
        "store": part_context.folder / "store",
        "runner": "inline",
        "device": part_context.device.name,
        "threads": part_context.device.threads,
    }
    if not part_context.device.cuda:
        return
    torch.cuda.reset_peak_memory_stats()
    run(study, out=part_context.folder / "free", **values)
    peak = torch.cuda.max_memory_allocated()
    with limited(part_context, 0.5 * peak):
        trials = run(study, out=part_context.folder / "tight", **values).trials
    for trace in (part_context.folder / "tight").rglob("errors/*.txt"):
        print(trace.read_text(encoding="utf-8"))
    yield note("memory at peak with enough of it", peak / MIB, "MiB")
    yield equal("status of the trial", str(trials["status"].iloc[0]), "finished")
    yield at_most("micro_batch in the records", float(trials["micro_batch"].fillna(math.inf).iloc[0]), 32)


def a_contrastive_run_with_too_little(part_context: PartContext) -> Iterator[Row]:
    """Yield whether SimCLR, whose batch cannot be split, raises a `UserError` with the remedy and frees the memory."""
    if not part_context.device.cuda:
        return
    from gpu.right.contrastive import pretraining

    before = _allocated(part_context)
    try:
        with limited(part_context, before + 600 * MIB):
            list(pretraining(part_context, "resnet18", batch_size=256, image_px=96, optimizer="adam", steps=2)[1])
    except UserError as error:
        yield holds("error of too large a batch", "ssl_batch_size=256" in str(error), str(error)[:160])
    else:
        yield holds("error of too large a batch", False, "none was raised")
    yield at_most("memory still allocated after it", (_allocated(part_context) - before) / MIB, 16, "MiB")


def a_speed_with_too_little(part_context: PartContext) -> Iterator[Row]:
    """Yield whether the training speed is measured on half the batch if the whole batch does not fit."""
    cache = FolderStore(part_context.folder).text(SPEEDS)
    if not part_context.device.cuda:
        return
    with limited(part_context, _allocated(part_context) + 1500 * MIB):
        speeds = measure_speed("unet-resnet18", 2, 128, 128, "none", "float32", part_context.device, cache)
    yield holds("speeds", min(speeds) > 0, f"{speeds[0]:.0f} / {speeds[1]:.0f} images/s")


def the_least_piece(part_context: PartContext) -> Iterator[Row]:
    """Yield whether the run ends with the error of the device if not even two images fit."""
    if not part_context.device.cuda:
        return
    sets = draw_sets(8, 4, 256)
    outcome = "no error"
    try:
        with limited(part_context, 200 * MIB):
            Run("unet-resnet18", sets, recipe_of(1, augmentation="none"), part_context.device, part_context.folder / "least").go()
    except torch.OutOfMemoryError:
        outcome = "OutOfMemoryError"
    yield equal("too little for two images", outcome, "OutOfMemoryError")
    yield note("smallest piece", step_module.LEAST_PIECE, "images")


CHECKS = (
    gradient_of_a_cut_batch,
    a_run_with_too_little,
    a_study_with_too_little,
    a_contrastive_run_with_too_little,
    a_speed_with_too_little,
    the_least_piece,
)
