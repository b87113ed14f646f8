"""The boundary F-score: how well the outlines agree, which region scores hardly see."""

import math

import torch
from torch import Tensor

from segsweep.data.dataset import IGNORE

TOLERANCE = 0.0075  # of the image's diagonal, as Csurka et al. take
BEYOND = -1  # a class number that nothing has


def boundary_scores(masks_BHW: Tensor, predicted_BHW: Tensor, classes: int) -> Tensor:
    """Return the boundary F-score of every image and class (B, C), NaN for a class that occurs in neither mask.

    F is the harmonic mean of precision (the share of the predicted boundary that lies within the tolerance of the true one)
    and recall (the other way round); the tolerance is 0.75 % of the diagonal, rounded, at least 1 pixel. A class without a
    boundary in one mask alone has 0, in both 1. A pixel is on the boundary of its class if a pixel of another class lies
    above, below, left or right of it; ignored pixels, and where the image ends, make no boundary.

    Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?" (BMVC), per image as Perazzi et al.
    2016 (DAVIS).
    """
    ignored = masks_BHW == IGNORE
    truth, guess = masks_BHW.masked_fill(ignored, BEYOND), predicted_BHW.masked_fill(ignored, BEYOND)
    true_edge, guessed_edge = _edges(truth), _edges(guess)
    radius_px = max(1, round(TOLERANCE * math.hypot(*masks_BHW.shape[-2:])))
    scores = torch.full((len(masks_BHW), classes), torch.nan, device=masks_BHW.device)
    present = torch.unique(torch.stack([truth, guess])).tolist()
    for number in (number for number in present if number != BEYOND):
        true_boundary, guessed_boundary = true_edge & (truth == number), guessed_edge & (guess == number)
        occurs = ((truth == number) | (guess == number)).flatten(1).any(1)
        scores[:, number] = torch.where(occurs, _f_score(true_boundary, guessed_boundary, radius_px), torch.nan)
    return scores


def _edges(numbers_BHW: Tensor) -> Tensor:
    """Return which pixels (B, H, W) have a neighbour of another class."""
    edges = torch.zeros_like(numbers_BHW, dtype=torch.bool)
    for axis in (1, 2):
        size = numbers_BHW.shape[axis]
        one, other = numbers_BHW.narrow(axis, 0, size - 1), numbers_BHW.narrow(axis, 1, size - 1)
        differ = (one != other) & (one != BEYOND) & (other != BEYOND)
        edges.narrow(axis, 0, size - 1).logical_or_(differ)
        edges.narrow(axis, 1, size - 1).logical_or_(differ)
    return edges


def _f_score(true_BHW: Tensor, guessed_BHW: Tensor, radius_px: int) -> Tensor:
    """Return the F-score (B,) of two boundaries."""
    true_count, guessed_count = true_BHW.flatten(1).sum(1), guessed_BHW.flatten(1).sum(1)
    precision = (guessed_BHW & _thickened(true_BHW, radius_px)).flatten(1).sum(1) / guessed_count.clamp(min=1)
    recall = (true_BHW & _thickened(guessed_BHW, radius_px)).flatten(1).sum(1) / true_count.clamp(min=1)
    f_score = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return torch.where((true_count == 0) & (guessed_count == 0), 1.0, f_score)


def _thickened(edges_BHW: Tensor, radius_px: int) -> Tensor:
    """Return the pixels within a radius of a boundary: a disk about each of its pixels, exactly.

    A boundary pixel some rows away is within the radius where it lies at most sqrt(radius² - rows²) columns to the side, so time
    grows with the radius and not with its square, as a convolution's does.
    """
    height = edges_BHW.shape[1]
    beside_BHW = _columns_to(edges_BHW, radius_px + 1)
    near = beside_BHW <= radius_px
    for rows in range(1, min(radius_px, height - 1) + 1):
        within = beside_BHW <= math.isqrt(radius_px**2 - rows**2)
        near[:, rows:] |= within[:, :-rows]
        near[:, :-rows] |= within[:, rows:]
    return near


def _columns_to(edges_BHW: Tensor, at_most: int) -> Tensor:
    """Return how many columns each pixel is from the next boundary pixel in its row, `at_most` where that is farther."""
    width = edges_BHW.shape[2]
    column_W = torch.arange(width, dtype=torch.int32, device=edges_BHW.device)
    to_left = column_W - torch.where(edges_BHW, column_W, -width - at_most).cummax(2).values
    turned = column_W - torch.where(edges_BHW.flip(2), column_W, -width - at_most).cummax(2).values
    return torch.minimum(to_left, turned.flip(2)).clamp(max=at_most).to(torch.int16)
