"""Standard errors by leaving out blocks of images (the delete-a-group jackknife)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCKS = 8


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error; None for an error that is unknown, as with a single image."""

    value: float
    error: float | None


def with_error(score: Callable[[Tensor], float], images: int) -> Estimate:
    """Return a score of all images, and its standard error from leaving out eighths of the images.

    Image n belongs to block n modulo 8. With fewer than eight images each one is a block; with fewer than three, and if a score
    without a block is undefined, the error is None.

    Args:
        score: Returns the score of the images for which a mask, (images,) bool, is True.
        images: Number of images.
    """
    value = score(torch.ones(images, dtype=torch.bool))
    blocks = min(BLOCKS, images)
    if blocks < 3:
        return Estimate(value, None)
    number = torch.arange(images) % blocks
    without = torch.tensor([score(number != block) for block in range(blocks)], dtype=torch.float64)
    error = float(((without - without.mean()) ** 2).sum() * (blocks - 1) / blocks) ** 0.5
    return Estimate(value, error if math.isfinite(error) else None)
