"""Scores of an encoder's transfer, against independent implementations and the papers' formulas."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import BayesianRidge

from segsweep.training.transferability import PIXEL_SCORES, gaussian_separability, h_score, log_evidence


def pixels(classes: int = 3, count: int = 300, dimensions: int = 8, distance: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return centred features and labels of pixels whose classes have Gaussians `distance` apart along each axis."""
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=count)
    features = rng.normal(size=(count, dimensions)) * np.linspace(0.5, 2, dimensions) + distance * labels[:, None]
    return torch.from_numpy(features - features.mean(0)), torch.from_numpy(labels)


@pytest.mark.parametrize(("count", "dimensions"), [(300, 8), (40, 60)])
def test_log_evidence_equals_that_of_bayesian_ridge(count: int, dimensions: int) -> None:
    """LogME is the mean over classes of scikit-learn's maximised evidence per pixel, also with fewer pixels than dimensions."""
    features, labels = pixels(count=count, dimensions=dimensions)
    flat = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0}  # no prior on the precisions
    ridge = BayesianRidge(max_iter=5000, tol=1e-14, compute_score=True, fit_intercept=False, **flat)
    evidences = [ridge.fit(features.numpy(), (labels == each).double().numpy()).scores_[-1] / count for each in range(3)]
    assert log_evidence(features, labels) == pytest.approx(np.mean(evidences), rel=1e-8)


def test_separability_equals_the_formula_of_its_paper() -> None:
    """GBC is minus the sum over ordered pairs of exp(-D), with the Bhattacharyya distance D of spherical Gaussians."""
    features, labels = (each.numpy() for each in pixels(distance=0.5))
    expected = 0.0
    for one in range(3):
        for other in range(3):
            if one == other:
                continue
            first, second = features[labels == one], features[labels == other]
            s1, s2 = (np.eye(8) * each.var(axis=0, ddof=1).mean() for each in (first, second))
            s, d = (s1 + s2) / 2, first.mean(0) - second.mean(0)
            determinants = np.log(np.linalg.det(s) / np.sqrt(np.linalg.det(s1) * np.linalg.det(s2)))
            expected -= np.exp(-(d @ np.linalg.inv(s) @ d / 8 + determinants / 2))
    assert gaussian_separability(torch.from_numpy(features), torch.from_numpy(labels)) == pytest.approx(expected, rel=1e-12)


def test_h_score_equals_the_formula_of_its_paper() -> None:
    """The H-score is tr(cov(f)^-1 cov(E[f | y])), with each pixel's conditional mean."""
    features, labels = (each.numpy() for each in pixels())
    means = np.stack([features[labels == label].mean(0) for label in labels])
    covariance, between = np.cov(features.T, bias=True), np.cov(means.T, bias=True)
    expected = np.trace(np.linalg.inv(covariance) @ between)
    assert h_score(torch.from_numpy(features), torch.from_numpy(labels)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", PIXEL_SCORES)
def test_classes_that_lie_apart_score_higher(name: str) -> None:
    """Each score rises with the distance of the classes, and is undefined with a single class."""
    score = PIXEL_SCORES[name]
    values = [score(*pixels(distance=distance)) for distance in (0.0, 0.5, 2.0)]
    assert values == sorted(values)
    assert math.isnan(score(pixels()[0], torch.zeros(300, dtype=torch.int64)))


def test_h_score_ignores_directions_without_variance() -> None:
    """A constant feature, such as a dead channel, changes no H-score."""
    features, labels = pixels()
    assert h_score(torch.cat([features, torch.zeros(300, 2)], 1), labels) == pytest.approx(h_score(features, labels), rel=1e-9)
