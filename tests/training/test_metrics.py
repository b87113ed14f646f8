from itertools import product

import numpy as np
import pytest
from sklearn import metrics as reference

from segsweep.training.metrics import image_scores, scores


def labels(classes: int, seed: int, size: int = 400, skill: float = 0.6, present=None):
    """Return true and predicted labels, of which a share agrees; `present` limits the classes of each."""
    rng = np.random.default_rng(seed)
    true = rng.choice(present[0] if present else classes, size)
    guess = rng.choice(present[1] if present else classes, size)
    return true, np.where(rng.random(size) < skill, true, guess) if present is None else guess


def counts(matrices: np.ndarray) -> np.ndarray:
    """Return correct, true and predicted pixels per class (N, 3, C) of matrices (N, C, C)."""
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
    """Every metric equals scikit-learn's: binary with two classes, otherwise macro over the labels that the truth shows."""
    found, shown = scores(matrix(true, predicted, classes)), np.unique(true)
    macro = {"average": "macro", "labels": shown, "zero_division": 0}
    how = {"average": "binary", "zero_division": 0} if classes == 2 else macro
    assert found.accuracy == pytest.approx(reference.accuracy_score(true, predicted))
    for name in ("precision", "recall", "f1", "jaccard"):
        expected = getattr(reference, f"{name}_score")(true, predicted, **how) if classes > 2 or 1 in shown else np.nan
        assert getattr(found, name.replace("jaccard", "iou")) == pytest.approx(expected, nan_ok=True)
    assert found.mean_iou == pytest.approx(reference.jaccard_score(true, predicted, **macro))
    assert found.weighted_iou == pytest.approx(reference.jaccard_score(true, predicted, average="weighted", zero_division=0))
    per_class = reference.recall_score(true, predicted, labels=np.unique(true), average=None, zero_division=0)
    assert found.mean_accuracy == pytest.approx(per_class.mean())
    if set(predicted) <= set(true) and len(set(true)) > 1:
        assert found.mean_accuracy == pytest.approx(reference.balanced_accuracy_score(true, predicted))


@pytest.mark.parametrize(("true", "predicted", "classes"), CASES)
def test_class_iou_has_one_value_per_class(true, predicted, classes):
    """The IoU of each class is scikit-learn's, and NaN for a class that the truth does not show, predicted or not."""
    found = scores(matrix(true, predicted, classes)).class_iou
    expected = reference.jaccard_score(true, predicted, labels=range(classes), average=None, zero_division=0)
    np.testing.assert_allclose(found, np.where(np.isin(range(classes), true), expected, np.nan))


def test_one_pixel_of_an_absent_class_hardly_changes_the_mean():
    """One pixel that is predicted as an absent class costs its true class one pixel, and adds no class to a mean."""
    before = np.array([[500, 20, 0], [30, 450, 0], [0, 0, 0]])
    after = before + np.array([[-1, 0, 1], [0, 0, 0], [0, 0, 0]])
    for measure in ("mean_iou", "iou", "f1", "precision", "recall", "mean_accuracy"):
        assert getattr(scores(after), measure) == pytest.approx(getattr(scores(before), measure), abs=0.002)


def test_the_class_set_of_a_mean_is_the_same_for_every_prediction():
    """For every prediction of a split, the same classes have an IoU, and the mean is over them."""
    rng = np.random.default_rng(0)
    true = rng.choice([0, 2, 5], 300)
    for predicted in (true, rng.choice(7, 300), np.full(300, 6), np.zeros(300, dtype=int)):
        found = scores(matrix(true, predicted, 7))
        assert np.flatnonzero(~np.isnan(found.class_iou)).tolist() == [0, 2, 5]
        assert found.mean_iou == pytest.approx(np.nanmean(found.class_iou))


def test_main_metrics_belong_to_the_foreground():
    """If the second of two classes is the background, the main metrics are those of the first, of the split and per image."""
    true, predicted = labels(2, 7)
    straight, turned = matrix(true, predicted, 2), matrix(1 - true, 1 - predicted, 2)
    for measure in ("iou", "f1", "precision", "recall"):
        assert getattr(scores(turned, foreground=0), measure) == getattr(scores(straight), measure)
        assert getattr(scores(turned), measure) != getattr(scores(straight), measure)
    for measure in ("iou", "dice"):
        expected = image_scores(counts(straight[None]))[measure]
        assert image_scores(counts(turned[None]), foreground=0)[measure] == expected


def test_absent_foreground_is_undefined():
    """With two classes of which the truth shows only the background, the foreground's metrics are NaN and the means are not."""
    for predicted, share in ((0, 1.0), (3, 2 / 3)):
        found = scores(np.array([[9 - predicted, predicted], [0, 0]]))
        assert np.isnan([found.precision, found.recall, found.f1, found.iou]).all()
        means = (found.accuracy, found.mean_accuracy, found.mean_iou, found.weighted_iou)
        assert means == pytest.approx((share,) * 4)


def test_metrics_without_a_pixel_are_undefined():
    """A matrix without pixels gives NaN everywhere, without a warning."""
    for classes in (2, 4):
        found = scores(np.zeros((classes, classes), dtype=np.int64))
        assert np.isnan([*found.class_iou, found.accuracy, found.mean_accuracy, found.mean_iou, found.weighted_iou]).all()
        assert np.isnan([found.precision, found.recall, found.f1, found.iou]).all()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_image_scores_equal_scikit_learns_per_image(classes):
    """Accuracy, IoU and Dice of each image are scikit-learn's for that image, over the classes that its truth shows."""
    pairs = [labels(classes, seed, size=12) for seed in range(20)]
    pairs.append((np.full(12, classes - 1), np.full(12, classes - 1)))
    pairs.append((np.full(12, classes - 1), np.zeros(12, dtype=int)))
    found = image_scores(counts(np.stack([matrix(true, predicted, classes) for true, predicted in pairs])))

    def expected(score, true, predicted):
        how = {"average": "binary"} if classes == 2 else {"average": "macro", "labels": np.unique(true)}
        return score(true, predicted, **how, zero_division=0)

    np.testing.assert_allclose(found["accuracy"], [reference.accuracy_score(*pair) for pair in pairs])
    np.testing.assert_allclose(found["iou"], [expected(reference.jaccard_score, *pair) for pair in pairs])
    np.testing.assert_allclose(found["dice"], [expected(reference.f1_score, *pair) for pair in pairs])


def test_image_without_true_and_predicted_foreground_scores_one():
    """With two classes, an image without foreground in truth and prediction has IoU and Dice 1; with a false one it has 0."""
    found = image_scores(counts(np.array([[[5, 0], [0, 0]], [[4, 1], [0, 0]]])))
    assert found["iou"].tolist() == found["dice"].tolist() == [1, 0]


@pytest.mark.parametrize("classes", [2, 3])
def test_fully_ignored_image_is_undefined(classes):
    """A fully ignored image has NaN in every score, and other images are not affected."""
    matrices = np.stack([np.zeros((classes, classes), dtype=np.int64), np.eye(classes, dtype=np.int64)])
    for values in image_scores(counts(matrices)).values():
        assert np.isnan(values[0])
        assert values[1] == 1


def test_dice_of_the_split_differs_from_the_mean_over_images():
    """F1 is computed from the whole split's counts, Dice per image: two images of unequal size give different values."""
    each = np.array([[[0, 0], [0, 90]], [[0, 5], [5, 0]]])
    assert scores(each.sum(axis=0)).f1 == pytest.approx(180 / 190)
    assert image_scores(counts(each))["dice"].mean() == pytest.approx(0.5)
