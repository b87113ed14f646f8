"""Images per second of training and evaluation, against a hand-written step on resident data and the arithmetic floor."""

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from statistics import median
from unittest.mock import patch

import numpy as np
import torch

from gpu.drawn import draw
from gpu.fast.timing import copy_rate, matmul_rate, seconds_each, spread
from gpu.part import failure
from gpu.part_context import PartContext
from gpu.rows import Row, at_least, note
from gpu.runs import Run, recipe_of
from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.models.measure import measure
from segsweep.store.contents import SPEEDS
from segsweep.store.folder import FolderStore
from segsweep.training.augment import AUGMENTATIONS, augment
from segsweep.training.augment import draw as draw_changes
from segsweep.training.batches import ImageSet
from segsweep.training.evaluate import evaluate
from segsweep.training.losses import make_objective
from segsweep.training.simclr import VIEWS
from segsweep.training.speed import measure_speed

NETWORKS = (
    "deeplabv3plus-mobilenet_v2",
    "unet-resnet50",
    "fcn-resnet50",
    "denseaspp-densenet121",
    "deeplabv3-resnet50",
    "unet-vgg16",
)
NETWORKS_AT_64 = 3  # the first networks
GOAL = 0.95  # share of the hand-written step's rate
TERAFLOP = 1e12
LEAST_SECONDS = 5.0  # assumed shortest duration of a case

Work = Callable[[PartContext], Iterator[Row]]


@dataclass(frozen=True)
class Case:
    """One network under one freeze policy at one batch size."""

    name: str
    policy: str
    batch: int
    image_px: int

    def __str__(self) -> str:
        return f"{self.name}, {'frozen' if self.policy == 'encoder' else 'all'}, batch {self.batch}"


def card(part_context: PartContext) -> Iterator[Row]:
    """Yield the highest rates of the card."""
    yield note("! matrix product in bfloat16", _matmul(part_context) / TERAFLOP, "Tflop/s")
    yield note("copying memory", copy_rate(part_context.device, part_context.size(2**30, 2**20)) / 1e9, "GB/s")


@cache
def _matmul(part_context: PartContext) -> float:
    return matmul_rate(part_context.device, part_context.size(8192, 128))


def cases(part_context: PartContext) -> Iterator[Row]:
    """Yield the rates of every network at batch size 16, of the speed on which prices rest, of the first networks at batch size
    64, and of augmentation. The last cases are left out if no time remains for them.
    """
    yield from in_time(part_context, _cases(part_context))


def in_time(part_context: PartContext, works: Sequence[tuple[str, Work]]) -> Iterator[Row]:
    """Do pieces of work one after the other while the remaining time is at least one and a half times the longest so far.

    The last row names the others. Work that raises becomes a failed row.
    """
    longest = LEAST_SECONDS
    for number, (name, work) in enumerate(works):
        if part_context.seconds_left < 1.5 * longest:
            yield note("left out, since no time was left", ", ".join(each for each, _ in works[number:]))
            return
        start = time.perf_counter()
        try:
            yield from work(part_context)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            yield failure(name, error)
        part_context.release()
        longest = max(longest, time.perf_counter() - start)


def _cases(part_context: PartContext) -> list[tuple[str, Work]]:
    first = _networks(part_context.size(NETWORKS, NETWORKS[:1]), part_context.size(16, 4), part_context.size(256, 32))
    second = [] if part_context.tiny else _networks(NETWORKS[:NETWORKS_AT_64], 64, 256)
    return [*first, ("the price", price), *second, ("augmentation", augmentation)]


def _networks(names: Sequence[str], batch: int, image_px: int) -> list[tuple[str, Work]]:
    works: list[tuple[str, Work]] = []
    for name in names:
        every, frozen = (Case(name, policy, batch, image_px) for policy in ("none", "encoder"))
        works += [(str(every), partial(_train, case=every)), (str(frozen), partial(_train, case=frozen))]
        works += [(f"{name}, batch {batch}, evaluation", partial(_evaluate, case=every))]
    return works


@cache
def _image_set(part_context: PartContext) -> ImageSet:
    return draw(part_context.size(256, 8), part_context.size(256, 32), ignored=True)


def _repeated(image_set: ImageSet, count: int) -> ImageSet:
    return ImageSet(image_set.data, np.resize(image_set.members, count))


def _train(part_context: PartContext, case: Case) -> Iterator[Row]:
    """Yield the rate of segsweep, of the hand-written step, their ratio, and the share of the arithmetic floor."""
    image_set = _image_set(part_context)
    by_hand = [case.batch / each for each in _hand_written(part_context, case, image_set)]
    ours = _ours(part_context, case, image_set)
    rate, best = median(ours), median(by_hand)
    yield note(f"! {case}: training (by hand {best:,.0f}; ratio {rate / best:.2f})", rate, "images/s")
    yield note(f"{case}: spread by hand / ours", f"{spread(by_hand):.1%} / {spread(ours):.1%}")
    yield at_least(f"{case}: ours / by hand", rate / best, part_context.size(GOAL, 0.0))
    floor = _matmul(part_context) / _operations(case)
    yield note(f"{case}: share of the arithmetic floor ({floor:,.0f} images/s)", rate / floor)


def _ours(part_context: PartContext, case: Case, image_set: ImageSet) -> list[float]:
    """Return the rates of the epochs of `train` after the first; checkpoints are measured separately."""
    steps = 2 if part_context.tiny else 20 if case.batch <= 16 else 8
    sets = [_repeated(image_set, steps * case.batch), _repeated(image_set, 2)]
    recipe = recipe_of(None, 3 * steps, 3, batch_size=case.batch, precision=_precision(part_context))
    run = Run(case.name, sets, recipe, part_context.device, part_context.folder / "unused.safetensors", case.policy)
    with patch("segsweep.training.loop.save_checkpoint"):
        return [each.images_per_second for each in run.go()][1:]


def _precision(part_context: PartContext) -> str:
    return "bfloat16" if part_context.device.cuda else "float32"


def _hand_written(part_context: PartContext, case: Case, image_set: ImageSet) -> list[float]:
    """Return the seconds of hand-written steps on images that are on the device already."""
    device = part_context.device
    model = build_model(case.name, 2, seed=0)
    freeze(model, case.policy)
    model.to(device.torch, memory_format=torch.channels_last).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    rows = np.resize(image_set.members, case.batch)
    images = torch.from_numpy(image_set.data.images[rows]).to(device.torch).permute(0, 3, 1, 2)
    masks = torch.from_numpy(image_set.data.masks[rows]).to(device.torch).long()
    mean, std = (
        torch.tensor(each, device=device.torch).view(1, 3, 1, 1) * 255 for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.torch.type, torch.bfloat16, enabled=device.cuda):
            logits = model((images.float() - mean) / std)
            loss = torch.nn.functional.cross_entropy(logits.float(), masks, ignore_index=255)
        loss.backward()
        optimizer.step()

    return seconds_each(step, device, 2 if part_context.tiny else 20 if case.batch <= 16 else 8)


def _operations(case: Case) -> float:
    """Return the floating-point operations of one image's training step: backward costs twice the forward pass."""
    cost = measure(case.name, 2, case.image_px)
    encoder = 1 if case.policy == "encoder" else 3
    return 2e9 * (encoder * cost.encoder_gmacs + 3 * cost.head_gmacs)


def _evaluate(part_context: PartContext, case: Case) -> Iterator[Row]:
    """Yield the rate of `evaluate` with one loss, and of its forward passes only."""
    model = build_model(case.name, 2, seed=0).to(part_context.device.torch, memory_format=torch.channels_last)
    some = _repeated(_image_set(part_context), part_context.size(8, 1) * case.batch)
    objective = make_objective("cross_entropy", some.data.classes)
    values = {"batch_size": case.batch, "precision": _precision(part_context), "device": part_context.device, "loss": objective}
    evaluate(model, some.first(case.batch), **values)
    start = time.perf_counter()
    found = evaluate(model, some, **values)
    seconds = time.perf_counter() - start
    label = f"{case.name}, batch {case.batch}"
    yield note(f"{label}: evaluation", len(some) / seconds, "images/s")
    yield note(f"{label}: share of evaluation in forward passes", found.predict_seconds / seconds)


def augmentation(part_context: PartContext) -> Iterator[Row]:
    """Yield images per second of every augmentation on the device."""
    count, image_px = part_context.size(64, 4), part_context.size(256, 32)
    image_set = _repeated(_image_set(part_context), count)
    images = torch.from_numpy(image_set.data.images[image_set.members]).to(part_context.device.torch).permute(0, 3, 1, 2)
    masks = torch.from_numpy(image_set.data.masks[image_set.members]).to(part_context.device.torch).long()
    chance = torch.Generator().manual_seed(0)
    for name, changes in {**AUGMENTATIONS, "simclr": VIEWS}.items():

        def work(changes=changes) -> None:
            augment(changes, images, masks, draw_changes(changes, count, chance))

        yield note(
            f"augmentation {name}, batch {count} at {image_px} px",
            count / median(seconds_each(work, part_context.device, part_context.size(10, 2))),
            "images/s",
        )


def price(part_context: PartContext) -> Iterator[Row]:
    """Yield the speed on which the price of a study rests, relative to the rate of training."""
    name, batch = "unet-resnet50" if not part_context.tiny else "unet16", part_context.size(16, 4)
    estimated, _ = measure_speed(
        name,
        2,
        part_context.size(256, 32),
        batch,
        "none",
        _precision(part_context),
        part_context.device,
        FolderStore(part_context.folder).text(SPEEDS),
    )
    real = median(_ours(part_context, Case(name, "none", batch, part_context.size(256, 32)), _image_set(part_context)))
    yield note(f"{name}: estimated speed of training / real", estimated / real)


CHECKS = (card, cases)
