from itertools import product

import numpy as np
import pytest
from sklearn import metrics as reference

from segsweep.training.metrics import image_scores, scores


def labels(classes: int, seed: int, size: int = 400, skill: float = 0.6, present=None):
    """True and predicted labels of which a share agrees; `present` limits what occurs in each."""
    rng = np.random.default_rng(seed)
    true = rng.choice(present[0] if present else classes, size)
    guess = rng.choice(present[1] if present else classes, size)
    return true, np.where(rng.random(size) < skill, true, guess) if present is None else guess


def counts(matrices: np.ndarray) -> np.ndarray:
    """Hit, true and predicted pixels per class (N, 3, C) of matrices (N, C, C)."""
    return np.stack([np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(axis=2), matrices.sum(axis=1)], axis=1)


def matrix(true, predicted, classes: int) -> np.ndarray:
    return reference.confusion_matrix(true, predicted, labels=range(classes))


CASES = [(*labels(classes, seed), classes) for classes, seed in product((2, 3, 6), range(3))] + [
    (*labels(5, 0, present=([0, 2, 4], [0, 1, 4])), 5),  # 1 only predicted, 2 only true, 3 nowhere
    (*labels(2, 1, present=([0], [0, 1])), 2),
    (*labels(2, 2, present=([0, 1], [0])), 2),
    (*labels(2, 3, present=([1], [1])), 2),
    (*labels(4, 4, present=([2], [2])), 4),
]


@pytest.mark.parametrize(("true", "predicted", "classes"), CASES)
def test_scores_equal_scikit_learns(true, predicted, classes):
    """Every metric equals scikit-learn's, which is binary with two classes and else macro over the labels that occur."""
    found = scores(matrix(true, predicted, classes))
    how = {"average": "binary" if classes == 2 else "macro", "zero_division": 0}
    assert found.accuracy == pytest.approx(reference.accuracy_score(true, predicted))
    assert found.precision == pytest.approx(reference.precision_score(true, predicted, **how))
    assert found.recall == pytest.approx(reference.recall_score(true, predicted, **how))
    assert found.f1 == pytest.approx(reference.f1_score(true, predicted, **how))
    assert found.iou == pytest.approx(reference.jaccard_score(true, predicted, **how))
    assert found.mean_iou == pytest.approx(reference.jaccard_score(true, predicted, average="macro", zero_division=0))
    assert found.weighted_iou == pytest.approx(reference.jaccard_score(true, predicted, average="weighted", zero_division=0))
    per_class = reference.recall_score(true, predicted, labels=np.unique(true), average=None, zero_division=0)
    assert found.mean_accuracy == pytest.approx(per_class.mean())
    if set(predicted) <= set(true) and len(set(true)) > 1:
        assert found.mean_accuracy == pytest.approx(reference.balanced_accuracy_score(true, predicted))


@pytest.mark.parametrize(("true", "predicted", "classes"), CASES)
def test_class_iou_has_one_value_a_class(true, predicted, classes):
    """The IoU of every class is scikit-learn's, and NaN for a class that occurs nowhere."""
    found = scores(matrix(true, predicted, classes)).class_iou
    expected = reference.jaccard_score(true, predicted, labels=range(classes), average=None, zero_division=0)
    occurs = np.isin(range(classes), [*true, *predicted])
    np.testing.assert_allclose(found, np.where(occurs, expected, np.nan))


def test_foreground_that_is_nowhere_is_undefined():
    """With two classes of which only the background occurs, the foreground's metrics are NaN and the means are not."""
    found = scores(np.array([[9, 0], [0, 0]]))
    assert np.isnan([found.precision, found.recall, found.f1, found.iou]).all()
    assert (found.accuracy, found.mean_accuracy, found.mean_iou, found.weighted_iou) == (1, 1, 1, 1)


def test_nothing_counted_is_undefined():
    """A matrix without a single pixel gives NaN everywhere, without a warning."""
    for classes in (2, 4):
        found = scores(np.zeros((classes, classes), dtype=np.int64))
        assert np.isnan([*found.class_iou, found.accuracy, found.mean_accuracy, found.mean_iou, found.weighted_iou]).all()
        assert np.isnan([found.precision, found.recall, found.f1, found.iou]).all()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_image_scores_equal_scikit_learns_per_image(classes):
    """Accuracy, IoU and Dice of each image are scikit-learn's on that image alone, absent classes left out."""
    pairs = [labels(classes, seed, size=12) for seed in range(20)]
    pairs.append((np.full(12, classes - 1), np.full(12, classes - 1)))
    pairs.append((np.full(12, classes - 1), np.zeros(12, dtype=int)))
    found = image_scores(counts(np.stack([matrix(true, predicted, classes) for true, predicted in pairs])))
    how = {"average": "binary" if classes == 2 else "macro", "zero_division": 0}
    np.testing.assert_allclose(found["accuracy"], [reference.accuracy_score(*pair) for pair in pairs])
    np.testing.assert_allclose(found["iou"], [reference.jaccard_score(*pair, **how) for pair in pairs])
    np.testing.assert_allclose(found["dice"], [reference.f1_score(*pair, **how) for pair in pairs])


def test_image_that_rightly_has_no_foreground_scores_one():
    """With two classes, an image without foreground in truth and prediction has IoU and Dice 1, with a false one 0."""
    found = image_scores(counts(np.array([[[5, 0], [0, 0]], [[4, 1], [0, 0]]])))
    assert found["iou"].tolist() == found["dice"].tolist() == [1, 0]


@pytest.mark.parametrize("classes", [2, 3])
def test_image_that_is_ignored_altogether_is_undefined(classes):
    """An image without a counted pixel is NaN in every score: it is neither right nor wrong. Others are not touched."""
    matrices = np.stack([np.zeros((classes, classes), dtype=np.int64), np.eye(classes, dtype=np.int64)])
    for values in image_scores(counts(matrices)).values():
        assert np.isnan(values[0])
        assert values[1] == 1


def test_dice_of_the_split_differs_from_the_mean_over_images():
    """F1 comes from the whole split's counts, Dice is per image: two images of unequal size tell them apart."""
    each = np.array([[[0, 0], [0, 90]], [[0, 5], [5, 0]]])
    assert scores(each.sum(axis=0)).f1 == pytest.approx(180 / 190)
    assert image_scores(counts(each))["dice"].mean() == pytest.approx(0.5)
