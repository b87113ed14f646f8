"""Metrics from integer confusion matrices, computed once over the whole split.

This is the protocol of every number in records and reports. With two classes, precision, recall, F1 and IoU are those of
the foreground (class 1). With more, they are means over the classes that occur in truth or prediction. Ignored pixels
count nowhere. What is undefined (0/0) is NaN.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """The metrics of one confusion matrix, each in [0, 1].

    `accuracy`: share of correct pixels. `mean_accuracy`: mean over the classes that occur in the truth of the share of
    their pixels found. `mean_iou`: mean over the classes that occur in truth or prediction. `weighted_iou`: IoU
    weighted by the classes' shares of the true pixels (frequency-weighted). `class_iou` has one value a class.
    """

    accuracy: float
    mean_accuracy: float
    precision: float
    recall: float
    f1: float
    iou: float
    mean_iou: float
    weighted_iou: float
    class_iou: tuple[float, ...]


def scores(confusion_CC: Counts) -> Scores:
    """Return the metrics of a confusion matrix whose rows are the truth and whose columns the prediction."""
    hit = np.diag(confusion_CC).astype(np.float64)
    true, predicted = confusion_CC.sum(axis=1).astype(np.float64), confusion_CC.sum(axis=0).astype(np.float64)
    occurs = true + predicted > 0
    precision, recall = _ratio(hit, predicted, occurs), _ratio(hit, true, occurs)
    f1, iou = _ratio(2 * hit, true + predicted, occurs), _ratio(hit, true + predicted - hit, occurs)
    total = true.sum()
    return Scores(
        accuracy=float(hit.sum() / total) if total else float("nan"),
        mean_accuracy=_mean(recall[true > 0]),
        precision=_headline(precision),
        recall=_headline(recall),
        f1=_headline(f1),
        iou=_headline(iou),
        mean_iou=_mean(iou[occurs]),
        weighted_iou=float((true[occurs] * iou[occurs]).sum() / total) if total else float("nan"),
        class_iou=tuple(iou.tolist()),
    )


def _ratio(part: Floats, whole: Floats, occurs: npt.NDArray[np.bool_]) -> Floats:
    """Return part / whole; 0 where the whole is empty but the class occurs, NaN where it does not occur at all."""
    ratio = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return np.where(occurs, ratio, np.nan)


def _headline(per_class: Floats) -> float:
    return float(per_class[1]) if len(per_class) == 2 else _mean(per_class[~np.isnan(per_class)])


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def image_scores(counts_N3C: Counts) -> dict[str, Floats]:
    """Return accuracy, IoU and Dice of every image (N,), from its own counts of hit, true and predicted pixels per class.

    IoU and Dice are the foreground's with two classes (1 where it is rightly nowhere), else means over the classes that
    occur in the image's truth or prediction. An image that is ignored altogether has NaN.
    """
    hit, true, predicted = (counts_N3C[:, row].astype(np.float64) for row in range(3))
    both = true + predicted
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = hit.sum(axis=1) / true.sum(axis=1)
        return {
            "accuracy": accuracy,
            "iou": image_mean(hit / (both - hit), both > 0, true.sum(axis=1) > 0),
            "dice": image_mean(2 * hit / both, both > 0, true.sum(axis=1) > 0),
        }


def image_mean(class_scores_NC: Floats, occurs_NC: Flags, seen_N: Flags) -> Floats:
    """Return one score an image (N,) from its scores per class.

    With two classes the foreground's, 1 where it occurs in neither truth nor prediction; with more, the mean over the
    classes that occur. NaN for an image of which nothing was counted (`seen_N` false).
    """
    if class_scores_NC.shape[1] == 2:
        return np.where(occurs_NC[:, 1], class_scores_NC[:, 1], np.where(seen_N, 1.0, np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_N: Floats = np.where(occurs_NC, class_scores_NC, 0.0).sum(axis=1) / occurs_NC.sum(axis=1)
    return mean_N
