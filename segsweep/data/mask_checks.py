"""Checks of the masks of a prepared dataset: errors that are refused, and remarks to read before training."""

from collections.abc import Iterator

import numpy as np

from segsweep.data.dataset import IGNORE
from segsweep.data.prepared import Prepared
from segsweep.data.splits import PARTS, Split
from segsweep.errors import UserError

WORTH_A_REMARK = 0.05  # share of the images
SHOWN = 3  # names in a line


def check_masks(data: Prepared) -> None:
    """Raise `UserError` if all masks of a labelled dataset show one class or none, so that there is nothing to segment."""
    if not data.labelled or len(data.shown) == 0:
        return
    *classes, ignored = data.shown.max(axis=0).tolist()
    shown = [number for number, present in enumerate(classes) if present]
    if len(shown) > 1:
        return
    where, lacking = f"dataset {data.dataset!r}", next(number for number in range(len(classes)) if number not in shown)
    if not shown:
        raise UserError(f"{where}: all mask pixels are {IGNORE}, which is ignored; write the class numbers 0..{len(classes) - 1}")
    if ignored:
        raise UserError(
            f"{where}: masks hold only {shown[0]} and {IGNORE}, and {IGNORE} is ignored, so no mask shows "
            f"{data.classes[lacking]!r}; write {lacking} instead of {IGNORE}"
        )
    raise UserError(
        f"{where}: every mask shows only {data.classes[shown[0]]!r} ({shown[0]} in all pixels), so there is nothing to segment; "
        f"write the class numbers 0..{len(classes) - 1}"
    )


def check_split_masks(data: Prepared, split: Split) -> None:
    """Raise `UserError` if all pixels of one part of a split are ignored: its loss would be 0 and its scores undefined."""
    for part, members in zip(PARTS, (split.train, split.val, split.test), strict=True):
        if len(members) == 0 or data.class_pixels(members).any():
            continue
        lost = len(data.shown) > 0 and data.shown[members, :-1].any()
        remedy = "use a larger image_px" if lost else f"write the class numbers 0..{len(data.classes) - 1}"
        names, size = _listed([data.names[int(member)] for member in members]), data.images.shape[1]
        raise UserError(
            f"dataset {data.dataset!r}: all pixels of the {len(members)} {part} masks at {size} px are {IGNORE}, "
            f"which is ignored; {remedy}, or choose another protocol: {names}"
        )


def mask_remarks(data: Prepared) -> list[str]:
    """Return remarks on the masks: classes that no mask shows, masks without a class, classes that disappear at this size."""
    if not data.labelled or len(data.shown) == 0:
        return []
    return [*_classes_nowhere(data), *_masks_without_class(data), *_vanished(data)]


def _classes_nowhere(data: Prepared) -> Iterator[str]:
    shown = data.shown.max(axis=0)
    if nowhere := [name for name, present in zip(data.classes, shown[:-1], strict=True) if not present]:
        hint = f"; {IGNORE} is ignored: if it stands for a class, write the class number" if shown[-1] else ""
        yield f"no mask shows {_listed([repr(name) for name in nowhere])}{hint}"


def _masks_without_class(data: Prepared) -> Iterator[str]:
    """Yield a line for masks whose pixels are all ignored, and for masks with only the first class and ignored pixels."""
    nothing = np.flatnonzero(~data.shown[:, :-1].any(axis=1))
    if len(nothing):
        names = _listed([data.names[int(member)] for member in nothing])
        yield f"{len(nothing)} of {len(data.names)} masks are {IGNORE} (ignored) everywhere, so they add no loss: {names}"
    first_only = np.flatnonzero((data.shown[:, 0] > 0) & ~data.shown[:, 1:-1].any(axis=1) & (data.shown[:, -1] > 0))
    if len(first_only) >= WORTH_A_REMARK * len(data.names):
        names = _listed([data.names[int(member)] for member in first_only])
        yield (
            f"{len(first_only)} of {len(data.names)} masks hold only 0 and {IGNORE}: {names}; {IGNORE} is ignored: if it stands "
            "for a class, write the class number"
        )


def _vanished(data: Prepared) -> Iterator[str]:
    """Yield a line per class that many original masks show and lose at this size."""
    originals = data.shown[:, :-1] > 0
    vanished = originals & (data.pixels[:, :-1] == 0)
    having, losing = originals.sum(axis=0), vanished.sum(axis=0)
    worst = [int(number) for number in np.argsort(-losing / np.maximum(having, 1), kind="stable")]
    vanishing = [number for number in worst if losing[number] and losing[number] >= WORTH_A_REMARK * having[number]]
    size = data.images.shape[1]
    cut = " or fit='resize', which cuts nothing off" if data.fit.endswith("crop") else ""
    for number in vanishing[:SHOWN]:
        yield (
            f"class {data.classes[number]!r}: {losing[number]} of the {having[number]} images that show it lose all its pixels "
            f"at {size} px, and scores do not count lost pixels; use a larger image_px{cut}"
        )
    if len(vanishing) > SHOWN:
        yield f"{len(vanishing) - SHOWN} more classes disappear at {size} px in at least {WORTH_A_REMARK:.0%} of their images"


def _listed(names: list[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
