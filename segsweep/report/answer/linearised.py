"""Measures of a test split as means over its images: the linearised score of every image.

A measure such as IoU is a ratio of sums over all images, so no image has a value whose mean over images is the measure. The
linearised score (the influence value of survey statistics, Särndal et al. 1992, section 5.5) is one: its mean over the images is
the measure exactly, and its variance is that of the measure to first order.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CLASS_IOU = "iou_"  # prefix of the IoU of one class
OF_COUNTS = ("iou", "f1", "accuracy", "precision", "recall", "mean_accuracy", "mean_iou", "weighted_iou")
OF_IMAGES = ("dice", "boundary_f")  # measures that are means over images


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of one run, each (N, K), by test image and class.

    Attributes:
        hit: Pixels of the class that were predicted as the class.
        true: Pixels of the class.
        predicted: Pixels that were predicted as the class.
        classes: Names of the K classes.
        foreground: The class that IoU, F1, precision and recall measure; None if they are means over classes.
    """

    hit: Floats
    true: Floats
    predicted: Floats
    classes: tuple[str, ...]
    foreground: str | None


def linearised(counts: ImageCounts, measure: str) -> Floats:
    """Return the linearised scores (N,) of a measure in `OF_COUNTS`, or of `iou_CLASS`; their mean is the measure of the split.

    Definitions are those of the records: with a foreground, IoU, F1, precision and recall are the foreground's; otherwise they
    are means over the classes that the split's ground truth shows. All are NaN for a class that it does not show.
    """
    pixels_N = counts.true.sum(axis=1)
    if measure == "accuracy":
        return ratio(counts.hit.sum(axis=1), pixels_N)
    if measure.startswith(CLASS_IOU):
        return _class_scores(counts, "iou", [counts.classes.index(measure.removeprefix(CLASS_IOU))])[:, 0]
    shown = np.flatnonzero(counts.true.sum(axis=0) > 0).tolist()
    if measure == "weighted_iou":
        return _weighted(counts, _class_scores(counts, "iou", shown), shown)
    plain = {"mean_iou": "iou", "mean_accuracy": "recall"}.get(measure, measure)
    if counts.foreground is not None and plain == measure:
        shown = [number for number, name in enumerate(counts.classes) if name == counts.foreground]  # none if no image has it
    mean_N: Floats = _class_scores(counts, plain, shown).mean(axis=1)
    return mean_N


def ratio(part_N: Floats, whole_N: Floats) -> Floats:
    """Return the linearised scores (N,) of sum(part) / sum(whole); zeros where the whole is zero."""
    mean = whole_N.mean()
    if mean == 0:
        return np.zeros(len(part_N))
    value = part_N.mean() / mean
    scores: Floats = value + (part_N - value * whole_N) / mean
    return scores


def _class_scores(counts: ImageCounts, measure: str, classes: list[int]) -> Floats:
    """Return the linearised scores (N, classes) of a measure of single classes; NaN for a class without true pixels."""
    scores = [_of_class(counts, measure, number) for number in classes]
    return np.stack(scores, axis=1) if scores else np.full((len(counts.hit), 1), np.nan)


def _of_class(counts: ImageCounts, measure: str, number: int) -> Floats:
    hit, true, predicted = counts.hit[:, number], counts.true[:, number], counts.predicted[:, number]
    if not true.any():
        return np.full(len(hit), np.nan)
    part, whole = {
        "iou": (hit, true + predicted - hit),
        "f1": (2 * hit, true + predicted),
        "precision": (hit, predicted),
        "recall": (hit, true),
    }[measure]
    return ratio(part, whole)


def _weighted(counts: ImageCounts, iou_NK: Floats, shown: list[int]) -> Floats:
    """Return the linearised scores (N,) of the sum over classes of share x IoU, by the product rule."""
    pixels_N = counts.true.sum(axis=1)
    if not shown:
        return iou_NK[:, 0]
    share_NK = np.stack([ratio(counts.true[:, number], pixels_N) for number in shown], axis=1)
    share_K, iou_K = share_NK.mean(axis=0), iou_NK.mean(axis=0)
    scores: Floats = (share_K * iou_NK + iou_K * (share_NK - share_K)).sum(axis=1)
    return scores
