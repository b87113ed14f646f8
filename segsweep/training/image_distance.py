"""The distance between two sets of images by their features: KID, the kernel inception distance, with any encoder."""

import torch
from torch import Tensor

from segsweep.training.left_out import Estimate, with_errors


def kernel_distance(features_ND: Tensor, others_MD: Tensor) -> Estimate:
    """Return the unbiased squared maximum mean discrepancy of two sets of image features, and its standard error.

    The kernel is (x . y / D + 1)^3, as in the kernel inception distance of Bińkowski et al. 2018 (arXiv:1801.01401). Its mean is
    0 for two samples of one distribution, so a value may be negative. The error is that of leaving out eighths of both sets.

    Args:
        features_ND: (N, D), features of one set, N at least 2.
        others_MD: (M, D), features of the other set, M at least 2.
    """
    both = torch.cat([features_ND, others_MD]).double()
    kernel = (both @ both.T / both.shape[1] + 1) ** 3
    first, images = len(features_ND), max(len(features_ND), len(others_MD))

    def distance(kept: Tensor) -> list[float]:
        one, other = kept[:first].nonzero()[:, 0], first + kept[: len(others_MD)].nonzero()[:, 0]
        within = sum(_mean_of_pairs(kernel[each][:, each]) for each in (one, other))
        return [float(within - 2 * kernel[one][:, other].mean())]

    return with_errors(distance, images)[0]


def _mean_of_pairs(kernel_NN: Tensor) -> Tensor:
    """Return the mean of a kernel over all pairs of different images."""
    count = len(kernel_NN)
    return (kernel_NN.sum() - kernel_NN.trace()) / (count * (count - 1))
