import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from segsweep.data.dataset import IGNORE
from segsweep.training.boundary import TOLERANCE, _dilated, boundary_scores


def boundary(numbers: np.ndarray, label: int) -> np.ndarray:
    """Return the pixels of a class with another class above, below, left or right; written independently, pixel by pixel."""
    found = np.zeros(numbers.shape, dtype=bool)
    height, width = numbers.shape
    for y, x in np.argwhere(numbers == label):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < height and 0 <= u < width and numbers[v, u] not in (label, IGNORE):
                found[y, x] = True
    return found


def reference(truth: np.ndarray, guess: np.ndarray, label: int) -> float:
    """Return the boundary F-score of one class of one image, by scipy's dilation."""
    guess = np.where(truth == IGNORE, IGNORE, guess)
    if not ((truth == label) | (guess == label)).any():
        return float("nan")
    radius = max(1, round(TOLERANCE * np.hypot(*truth.shape)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = y**2 + x**2 <= radius**2
    own, found = boundary(truth, label), boundary(guess, label)
    if not own.any() and not found.any():
        return 1.0
    if not own.any() or not found.any():
        return 0.0
    precision = binary_dilation(own, disk)[found].mean()
    recall = binary_dilation(found, disk)[own].mean()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def blobs(classes: int, shift: int, ignored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of discs (3, 90, 110), and the same masks shifted by some pixels."""
    rng, masks = np.random.default_rng(0), np.zeros((3, 90, 110), dtype=np.int64)
    y, x = np.mgrid[:90, :110]
    for mask in masks:
        for label in range(1, classes):
            mask[(y - rng.integers(15, 75)) ** 2 + (x - rng.integers(15, 95)) ** 2 < rng.integers(8, 20) ** 2] = label
    guess = np.roll(masks, (shift, shift // 2), axis=(1, 2))
    if ignored:
        masks[:, 20:40, 30:60] = IGNORE
    return masks, guess


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("shift", [0, 1, 2, 9])
@pytest.mark.parametrize("ignored", [False, True])
def test_scores_equal_an_independent_reference(classes, shift, ignored):
    """The score of each image and class equals one that is computed pixel by pixel with scipy."""
    truth, guess = blobs(classes, shift, ignored)
    found = boundary_scores(torch.from_numpy(truth), torch.from_numpy(guess), classes).numpy()
    expected = [[reference(one, other, label) for label in range(classes)] for one, other in zip(truth, guess, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_shifted_outline_scores_less_the_farther_it_is():
    """A correct outline scores 1, also if shifted within the tolerance; with larger shifts the score falls."""
    scores = []
    for shift in (0, 1, 2, 4):
        truth, guess = blobs(2, shift, ignored=False)
        scores.append(float(boundary_scores(torch.from_numpy(truth), torch.from_numpy(guess), 2)[:, 1].mean()))
    assert scores[:2] == [1, 1]
    assert scores[1] > scores[2] > scores[3]


def test_classes_without_an_outline():
    """A class in neither mask is undefined, a class that fills both scores 1, and a class that fills only the prediction scores
    0.
    """
    empty, full = torch.zeros(1, 32, 32, dtype=torch.long), torch.ones(1, 32, 32, dtype=torch.long)
    assert boundary_scores(full, full, 3).tolist()[0][1] == 1
    assert torch.isnan(boundary_scores(full, full, 3)[0, [0, 2]]).all()
    part = full.clone()
    part[:, :16] = 0
    assert boundary_scores(full, part, 2).tolist() == [[0, 0]]
    assert torch.isnan(boundary_scores(torch.full_like(empty, IGNORE), empty, 2)).all()


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 40), (2, 40, 1), (2, 7, 30), (3, 40, 50)])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 0.5, 1.0])
def test_pixels_near_a_boundary_are_those_of_a_convolution_with_a_disk(shape, share):
    """At every radius, also beyond the image's size, the dilation covers exactly a disk around each boundary pixel."""
    edges = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share
    for radius in (1, 2, 3, 5, 8, 13, 45):
        offsets = torch.arange(-radius, radius + 1)
        disk = (offsets[:, None] ** 2 + offsets[None] ** 2 <= radius**2).double()
        covered = torch.nn.functional.conv2d(edges[:, None].double(), disk[None, None], padding=radius)[:, 0] > 0.5
        assert torch.equal(_dilated(edges, radius), covered)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_large_image_takes_seconds():
    """3000 x 4000 pixels with a tolerance of 38 take 6 seconds on one core; with a convolution they would take minutes."""
    truth = torch.zeros(1, 3000, 4000, dtype=torch.long)
    truth[:, 700:2200, 900:3100] = 1
    scores = boundary_scores(truth, truth.roll((20, 39), (1, 2)), 2)
    assert scores.min() > 0.5
    assert scores.max() < 1
