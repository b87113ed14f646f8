"""Metrics from integer confusion matrices, computed once over the whole split.

This is the protocol of every number in records and reports. With two classes, precision, recall, F1 and IoU are those of
the foreground, the class that is not the background. With more, they are means over a class set that is fixed per split:
the classes that its ground truth shows, whatever the model predicts. Ignored pixels are never counted. An undefined value is
NaN, such as the IoU of a class that the ground truth does not show.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scores:
    """The metrics of one confusion matrix, each in [0, 1] or NaN where undefined.

    `accuracy`: share of correct pixels.
    `mean_accuracy`, `mean_iou`: means of recall and of IoU over the classes that the ground truth shows.
    `precision`, `recall`, `f1`, `iou`: of the foreground with two classes; otherwise means over the classes that the truth shows.
    `weighted_iou`: mean IoU weighted by the classes' shares of the true pixels (frequency-weighted IoU).
    `class_iou`: C values, one per class, NaN for a class that the ground truth does not show.
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


def scores(confusion_CC: Counts, foreground: int = 1) -> Scores:
    """Return the metrics of a confusion matrix.

    Args:
        confusion_CC: (C, C), int64, number of pixels by true class (rows) and predicted class (columns).
        foreground: Number of the class that precision, recall, F1 and IoU describe if there are two classes.
    """
    hit = np.diag(confusion_CC).astype(np.float64)
    true, predicted = confusion_CC.sum(axis=1).astype(np.float64), confusion_CC.sum(axis=0).astype(np.float64)
    shown = true > 0
    precision, recall = _ratio(hit, predicted, shown), _ratio(hit, true, shown)
    f1, iou = _ratio(2 * hit, true + predicted, shown), _ratio(hit, true + predicted - hit, shown)
    total = true.sum()

    def headline(per_class: Floats) -> float:
        return float(per_class[foreground]) if len(per_class) == 2 else _mean(per_class[shown])

    return Scores(
        accuracy=float(hit.sum() / total) if total else float("nan"),
        mean_accuracy=_mean(recall[shown]),
        precision=headline(precision),
        recall=headline(recall),
        f1=headline(f1),
        iou=headline(iou),
        mean_iou=_mean(iou[shown]),
        weighted_iou=float((true[shown] * iou[shown]).sum() / total) if total else float("nan"),
        class_iou=tuple(iou.tolist()),
    )


def _ratio(part: Floats, whole: Floats, shown: Flags) -> Floats:
    """Return part / whole per class (C,): 0 for a class that is shown but never predicted, NaN for one that is not shown."""
    ratio = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return np.where(shown, ratio, np.nan)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def image_scores(counts_N3C: Counts, foreground: int = 1) -> dict[str, Floats]:
    """Return `accuracy`, `iou` and `dice` of each image, three arrays (N,) of float64 in 0..1.

    With two classes, IoU and Dice are those of the foreground: 1 if it is absent from truth and prediction, 0 if it is absent
    from the truth but predicted. With more, they are means over the classes that the image's ground truth shows. All are NaN for
    an image whose pixels are all ignored.

    Args:
        counts_N3C: (N, 3, C), int64, per image and class the number of correct, true and predicted pixels.
        foreground: Number of the foreground class, 0 or 1. Used with two classes only.
    """
    hit, true, predicted = (counts_N3C[:, row].astype(np.float64) for row in range(3))
    both, shown = true + predicted, true > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = hit.sum(axis=1) / true.sum(axis=1)
        each = {"iou": hit / (both - hit), "dice": 2 * hit / both}
    return {"accuracy": accuracy, **{name: image_mean(values, shown, both > 0, foreground) for name, values in each.items()}}


def image_mean(class_scores_NC: Floats, shown_NC: Flags, occurs_NC: Flags, foreground: int = 1) -> Floats:
    """Return one score per image, (N,) float64: NaN for an image whose pixels are all ignored.

    With two classes, it is the foreground's score, or 1 if the foreground occurs neither in truth nor in prediction. With more,
    it is the mean over the classes that the ground truth shows.

    Args:
        class_scores_NC: (N, C), float64, a score per image and class.
        shown_NC: (N, C), bool, whether the image's ground truth shows the class.
        occurs_NC: (N, C), bool, whether the class occurs in the image's ground truth or prediction.
        foreground: Number of the foreground class, 0 or 1. Used with two classes only.
    """
    counted_N = shown_NC.any(axis=1)
    if class_scores_NC.shape[1] == 2:
        score_N = np.where(occurs_NC[:, foreground], class_scores_NC[:, foreground], 1.0)
        return np.where(counted_N, score_N, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_N: Floats = np.where(shown_NC, class_scores_NC, 0.0).sum(axis=1) / shown_NC.sum(axis=1)
    return mean_N
