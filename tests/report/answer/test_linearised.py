"""Linearised scores: their means are the measures of the records, their deviations the influence of each image."""

from itertools import product

import numpy as np
import pytest

from segsweep.report.answer.linearised import CLASS_IOU, OF_COUNTS, ImageCounts, linearised
from segsweep.training.metrics import Scores, scores

Floats = np.ndarray


def confusions(classes: int, seed: int, *, absent: int | None = None, never: int | None = None, images: int = 7) -> Floats:
    """Return confusion matrices (N, K, K): class `absent` is only predicted, `never` is never predicted; image 0 is ignored."""
    number = np.random.default_rng(seed)
    found = number.integers(0, 40, (images, classes, classes)) * (number.random((images, classes, 1)) < 0.7)
    found[0] = 0
    if absent is not None:
        found[:, absent] = 0
    if never is not None:
        found[:, :, never] = 0
    return found


def counts_of(matrices: Floats, foreground: int | None) -> ImageCounts:
    """Return the counts of confusion matrices (N, K, K); classes are named a, b, ..."""
    hit = np.diagonal(matrices, axis1=1, axis2=2).astype(np.float64)
    names = tuple("abcdefgh"[: matrices.shape[1]])
    true, predicted = matrices.sum(axis=2).astype(np.float64), matrices.sum(axis=1).astype(np.float64)
    return ImageCounts(hit, true, predicted, names, None if foreground is None else names[foreground])


def measured(found: Scores, measure: str) -> float:
    """Return a measure of the records by its name."""
    if measure.startswith(CLASS_IOU):
        return found.class_iou["abcdefgh".index(measure.removeprefix(CLASS_IOU))]
    return float(getattr(found, measure))


CASES = [
    *((confusions(2, seed), foreground) for seed, foreground in product(range(2), (0, 1))),
    *((confusions(2, 2, never=foreground), foreground) for foreground in (0, 1)),
    *((confusions(2, 3, absent=foreground), foreground) for foreground in (0, 1)),
    (confusions(5, 4), None),
    (confusions(5, 5, absent=2, never=3), None),
    (confusions(5, 6, absent=0, never=4, images=1000), None),
]


def all_measures(classes: int) -> list[str]:
    return [*OF_COUNTS, *(CLASS_IOU + name for name in "abcdefgh"[:classes])]


@pytest.mark.parametrize(("matrices", "foreground"), CASES)
def test_the_mean_of_linearised_scores_is_the_measure(matrices: Floats, foreground: int | None) -> None:
    """For every measure the mean over images equals that of the records, for absent and never predicted classes too."""
    counts, expected = counts_of(matrices, foreground), scores(matrices.sum(axis=0), foreground if foreground is not None else 1)
    for measure in all_measures(matrices.shape[1]):
        value = linearised(counts, measure).mean()
        assert value == pytest.approx(measured(expected, measure), rel=0, abs=1e-12, nan_ok=True), measure


@pytest.mark.parametrize(("matrices", "foreground"), CASES[:-1])
def test_the_deviation_of_a_score_is_the_influence_of_its_image(matrices: Floats, foreground: int | None) -> None:
    """A score minus the mean is the derivative of the measure by the weight of the image, so that its variance is right."""
    counts, step = counts_of(matrices, foreground), 1e-5
    for measure in all_measures(matrices.shape[1]):
        found = linearised(counts, measure)
        if np.isnan(found).any():
            continue
        for image, influence in enumerate((found - found.mean()) / len(found)):
            ends = []
            for change in (-step, step):
                weights = np.ones((len(found), 1, 1))
                weights[image] += change
                weighted = scores((weights * matrices).sum(axis=0), foreground if foreground is not None else 1)
                ends.append(measured(weighted, measure))
            assert influence == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-5, abs=1e-8), (measure, image)
