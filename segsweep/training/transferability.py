"""Scores that predict how well an encoder transfers to a target, from features of labelled pixels, without training.

Each function takes features (N, D), float64, centred, and labels (N,), int64, of N pixels. A larger value predicts a better
transfer. Classes without a pixel do not count.
"""

import math
from collections.abc import Callable, Mapping
from itertools import combinations

import torch
from torch import Tensor

ITERATIONS = 1000  # most updates of the evidence's precisions
TINY = 1e-300  # instead of 0 in a denominator
TOLERANCE = 1e-8  # relative change of both precisions at which the updates end

PixelScore = Callable[[Tensor, Tensor], float]


def log_evidence(features_ND: Tensor, labels_N: Tensor) -> float:
    """Return LogME: the maximised log evidence per pixel of a linear regression of "is it this class", averaged over classes.

    You et al. 2021 (arXiv:2102.11005). The regression has no intercept; the precisions of its weights and of its noise maximise
    the evidence (MacKay's updates). Returns NaN if all pixels have one class.
    """
    left_NR, singular_R, _ = torch.linalg.svd(features_ND, full_matrices=False)
    evidences = [
        _evidence(left_NR, singular_R**2, (labels_N == number).double(), features_ND.shape[1]) for number in _classes(labels_N)
    ]
    return sum(evidences) / len(evidences) if len(evidences) > 1 else math.nan


def _evidence(left_NR: Tensor, eigenvalues_R: Tensor, wanted_N: Tensor, dimensions: int) -> float:
    """Return the maximised log evidence per pixel of a regression of `wanted_N`.

    `left_NR` and `eigenvalues_R` are the left singular vectors and the squared singular values of the features.
    """
    pixels = len(wanted_N)
    explained_R = (left_NR.T @ wanted_N) ** 2
    unexplained = max(float(wanted_N @ wanted_N - explained_R.sum()), 0.0)
    weight, noise = 1.0, 1.0  # the precisions of the weights and of the noise
    for _ in range(ITERATIONS):
        posterior_R = weight + noise * eigenvalues_R  # precision of each weight given the data
        weights = float((noise**2 * eigenvalues_R * explained_R / posterior_R**2).sum())  # squared norms at the posterior mean
        residual = float((explained_R * (weight / posterior_R) ** 2).sum()) + unexplained
        determined = float((noise * eigenvalues_R / posterior_R).sum())  # the effective number of weights
        before = weight, noise
        weight, noise = determined / max(weights, TINY), (pixels - determined) / max(residual, TINY)
        if abs(weight / before[0] - 1) + abs(noise / before[1] - 1) < TOLERANCE:
            break
    posterior_R = weight + noise * eigenvalues_R
    weights = float((noise**2 * eigenvalues_R * explained_R / posterior_R**2).sum())
    residual = float((explained_R * (weight / posterior_R) ** 2).sum()) + unexplained
    determinant = float(posterior_R.log().sum()) + (dimensions - len(eigenvalues_R)) * math.log(weight)
    evidence = pixels * math.log(noise / (2 * math.pi)) + dimensions * math.log(weight) - determinant
    return (evidence - noise * residual - weight * weights) / (2 * pixels)


def gaussian_separability(features_ND: Tensor, labels_N: Tensor) -> float:
    """Return GBC: minus the overlap of the classes' spherical Gaussians, summed over ordered pairs of classes; at most 0.

    The overlap of two Gaussians is their Bhattacharyya coefficient. Pándy et al. 2022 (arXiv:2111.12780). Classes with fewer than
    two pixels are left out; returns NaN with fewer than two classes.
    """
    dimensions = features_ND.shape[1]
    of_class = [features_ND[labels_N == number] for number in _classes(labels_N)]
    gaussians = [(each.mean(0), float(each.var(0).mean())) for each in of_class if len(each) > 1]
    overlap = 0.0
    for (mean, variance), (other_mean, other_variance) in combinations(gaussians, 2):
        between = (variance + other_variance) / 2
        distance = float(((mean - other_mean) ** 2).sum()) / (8 * between)
        distance += dimensions / 2 * math.log(between / math.sqrt(variance * other_variance))
        overlap += math.exp(-distance)
    return -2 * overlap if len(gaussians) > 1 else math.nan


def h_score(features_ND: Tensor, labels_N: Tensor) -> float:
    """Return the H-score: the trace of (covariance of the features)^-1 x (covariance of their means given the class); at least 0.

    Bao et al. 2019 (An information-theoretic approach to transferability in task transfer learning). Directions without variance
    do not count. Returns NaN if all pixels have one class.
    """
    numbers = _classes(labels_N)
    if len(numbers) < 2:
        return math.nan
    centred_ND = features_ND - features_ND.mean(0)
    mean_CD = torch.stack([centred_ND[labels_N == number].mean(0) for number in numbers])
    share_C1 = torch.stack([(labels_N == number).double().mean() for number in numbers])[:, None]
    covariance_DD = centred_ND.T @ centred_ND / len(labels_N)
    between_DD = (share_C1 * mean_CD).T @ mean_CD
    return float(torch.trace(torch.linalg.pinv(covariance_DD, hermitian=True) @ between_DD))


def _classes(labels_N: Tensor) -> list[int]:
    """Return the numbers of the classes that occur."""
    numbers: list[int] = labels_N.bincount().nonzero()[:, 0].tolist()
    return numbers


PIXEL_SCORES: Mapping[str, PixelScore] = {"logme": log_evidence, "gbc": gaussian_separability, "h_score": h_score}
