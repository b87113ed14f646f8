"""Standard errors by leaving out blocks of images (the delete-a-group jackknife)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCKS = 8


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error; None for an error that is unknown, as with a single image."""

    value: float
    error: float | None


def with_errors(scores: Callable[[Tensor], Sequence[float]], images: int) -> list[Estimate]:
    """Return scores of all images, each with its standard error from leaving out eighths of the images.

    Image n belongs to block n modulo 8. With fewer than eight images each one is a block. With fewer than three, and where a
    score without a block is undefined, the error is None.

    Args:
        scores: Returns the scores of the images for which a mask, (images,) bool, is True.
        images: Number of images.
    """
    values = scores(torch.ones(images, dtype=torch.bool))
    blocks = min(BLOCKS, images)
    if blocks < 3:
        return [Estimate(value, None) for value in values]
    number = torch.arange(images) % blocks
    without_BS = torch.tensor([scores(number != block) for block in range(blocks)], dtype=torch.float64)
    errors = (((without_BS - without_BS.mean(0)) ** 2).sum(0) * (blocks - 1) / blocks).sqrt().tolist()
    return [Estimate(value, error if math.isfinite(error) else None) for value, error in zip(values, errors, strict=True)]
