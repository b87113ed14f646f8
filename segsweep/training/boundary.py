"""The boundary F-score, which measures how well outlines agree. IoU and Dice hardly depend on outlines."""

import math

import torch
from torch import Tensor

from segsweep.data.dataset import IGNORE

TOLERANCE = 0.0075  # share of the image's diagonal, as in Csurka et al.
NO_CLASS = -1


def boundary_scores(masks_BHW: Tensor, predicted_BHW: Tensor, classes: int) -> Tensor:
    """Return the boundary F-score of each image and class, (B, C) float32 in 0..1.

    F is the harmonic mean of precision (the share of the predicted boundary within the tolerance of the true boundary) and recall
    (the share of the true boundary within the tolerance of the predicted one). The tolerance is 0.75 % of the image's diagonal,
    rounded, at least 1 pixel. A class that occurs in neither mask has NaN. A class that has a boundary in one mask only has 0, a
    class that has one in neither has 1. A pixel is on the boundary of its class if a pixel of another class lies above, below,
    left or right of it. Ignored pixels and the image's border make no boundary.

    Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?" (BMVC), per image as in Perazzi et al.
    2016 (DAVIS).

    Args:
        masks_BHW: (B, H, W), int64, true class numbers or `IGNORE`.
        predicted_BHW: (B, H, W), int64, predicted class numbers.
        classes: Number of classes C.
    """
    ignored = masks_BHW == IGNORE
    truth, predicted = masks_BHW.masked_fill(ignored, NO_CLASS), predicted_BHW.masked_fill(ignored, NO_CLASS)
    true_edge, predicted_edge = _edges(truth), _edges(predicted)
    radius_px = max(1, round(TOLERANCE * math.hypot(*masks_BHW.shape[-2:])))
    scores = torch.full((len(masks_BHW), classes), torch.nan, device=masks_BHW.device)
    present = torch.unique(torch.stack([truth, predicted])).tolist()
    for number in (number for number in present if number != NO_CLASS):
        true_boundary, predicted_boundary = true_edge & (truth == number), predicted_edge & (predicted == number)
        occurs = ((truth == number) | (predicted == number)).flatten(1).any(1)
        scores[:, number] = torch.where(occurs, _f_score(true_boundary, predicted_boundary, radius_px), torch.nan)
    return scores


def _edges(numbers_BHW: Tensor) -> Tensor:
    """Return whether each pixel has a neighbour of another class, (B, H, W) bool."""
    edges = torch.zeros_like(numbers_BHW, dtype=torch.bool)
    for axis in (1, 2):
        size = numbers_BHW.shape[axis]
        one, other = numbers_BHW.narrow(axis, 0, size - 1), numbers_BHW.narrow(axis, 1, size - 1)
        differ = (one != other) & (one != NO_CLASS) & (other != NO_CLASS)
        edges.narrow(axis, 0, size - 1).logical_or_(differ)
        edges.narrow(axis, 1, size - 1).logical_or_(differ)
    return edges


def _f_score(true_BHW: Tensor, predicted_BHW: Tensor, radius_px: int) -> Tensor:
    """Return the F-score (B,) of a predicted boundary against the true one."""
    true_count, predicted_count = true_BHW.flatten(1).sum(1), predicted_BHW.flatten(1).sum(1)
    precision = (predicted_BHW & _dilated(true_BHW, radius_px)).flatten(1).sum(1) / predicted_count.clamp(min=1)
    recall = (true_BHW & _dilated(predicted_BHW, radius_px)).flatten(1).sum(1) / true_count.clamp(min=1)
    f_score = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return torch.where((true_count == 0) & (predicted_count == 0), 1.0, f_score)


def _dilated(edges_BHW: Tensor, radius_px: int) -> Tensor:
    """Return the pixels within a radius of a boundary, (B, H, W) bool: an exact dilation by a disk.

    A boundary pixel `rows` rows away is within the radius if it lies at most sqrt(radius² - rows²) columns to the side. The time
    grows linearly with the radius; that of a convolution grows with its square.
    """
    height = edges_BHW.shape[1]
    columns_BHW = _columns_to(edges_BHW, radius_px + 1)
    near = columns_BHW <= radius_px
    for rows in range(1, min(radius_px, height - 1) + 1):
        within = columns_BHW <= math.isqrt(radius_px**2 - rows**2)
        near[:, rows:] |= within[:, :-rows]
        near[:, :-rows] |= within[:, rows:]
    return near


def _columns_to(edges_BHW: Tensor, at_most: int) -> Tensor:
    """Return each pixel's distance in columns to the nearest boundary pixel of its row, at most `at_most`: (B, H, W) int16."""
    width = edges_BHW.shape[2]
    column_W = torch.arange(width, dtype=torch.int32, device=edges_BHW.device)
    to_left = column_W - torch.where(edges_BHW, column_W, -width - at_most).cummax(2).values
    flipped = column_W - torch.where(edges_BHW.flip(2), column_W, -width - at_most).cummax(2).values
    return torch.minimum(to_left, flipped.flip(2)).clamp(max=at_most).to(torch.int16)
