import math

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from segsweep.config.settings import Settings
from segsweep.data.dataset import IGNORE
from segsweep.training.augment import AUGMENTATIONS, Augmentation, augment, blur, draw, flip, jitter, move

STRONG = AUGMENTATIONS["rotate_flip_jitter_blur"]
NAMED = sorted(AUGMENTATIONS)


def random_images(count: int = 5, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (B, 3, H, W) and masks; each mask can be computed from the image's red channel."""
    chance = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 3, (count, size // 4, size // 4), generator=chance).repeat_interleave(4, 1).repeat_interleave(4, 2)
    images = torch.randint(0, 256, (count, 3, size, size), generator=chance)
    images[:, 0] = masks * 100
    return images.to(torch.uint8), masks


def drawn(augmentation: Augmentation, count: int = 5, seed: int = 0):
    return draw(augmentation, count, torch.Generator().manual_seed(seed))


def test_every_augmentation_has_a_name_in_the_settings():
    """The names that the settings allow are those of the table."""
    allowed = {name for name in NAMED if Settings(augmentation=name)}
    assert allowed == set(AUGMENTATIONS)


@pytest.mark.parametrize("name", NAMED)
def test_shapes_and_types_do_not_change(name):
    """With any augmentation, images stay (B, 3, H, W) uint8, and masks (B, H, W) int64 of classes and IGNORE."""
    images, masks = random_images()
    changed, labels = augment(AUGMENTATIONS[name], images, masks, drawn(AUGMENTATIONS[name]))
    assert (changed.shape, changed.dtype) == (images.shape, torch.uint8)
    assert (labels.shape, labels.dtype) == (masks.shape, torch.int64)
    assert set(labels.unique().tolist()) <= {0, 1, 2, IGNORE}


@pytest.mark.parametrize("name", NAMED)
def test_each_image_has_independent_parameters(name):
    """Equal images in one batch are changed differently; the same seed repeats the changes."""
    augmentation = AUGMENTATIONS[name]
    image, mask = random_images(1)
    images, masks = image.repeat(8, 1, 1, 1), mask.repeat(8, 1, 1)
    one, other = (augment(augmentation, images, masks, drawn(augmentation, 8)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    different = len(torch.unique(one[0].flatten(1), dim=0))
    assert different == {"none": 1, "flip": 2}.get(name, 8)
    if name != "none":
        again = augment(augmentation, images, masks, drawn(augmentation, 8, seed=1))
        assert not torch.equal(one[0], again[0])


@pytest.mark.parametrize("name", NAMED)
def test_a_share_of_a_batch_is_changed_as_in_the_whole(name):
    """The parameters of a batch do not depend on how processes share its images."""
    augmentation = AUGMENTATIONS[name]
    images, masks = random_images(6)
    chosen = drawn(augmentation, 6)
    whole = augment(augmentation, images, masks, chosen)
    rows = np.array([1, 4, 5])
    part = augment(augmentation, images[rows], masks[rows], chosen.rows(rows))
    assert torch.equal(whole[1][rows], part[1])
    assert (whole[0][rows].int() - part[0].int()).abs().max() <= 1  # sums in another order


@pytest.mark.parametrize("name", ["crop_flip_jitter", "rotate_flip_jitter_blur"])
def test_masks_move_with_their_images(name):
    """After rotation, crop and flip, the mask still matches the image, except at the borders between classes."""
    augmentation = AUGMENTATIONS[name]
    images, masks = random_images(8, size=96)
    still = Augmentation(augmentation.flip, augmentation.rotation_degrees, augmentation.crop)
    changed, labels = augment(still, images, masks, drawn(still, 8))
    red, counted = changed[:, 0].float() / 100, labels != IGNORE
    agree = ((red - labels).abs() < 0.5)[counted].float().mean()
    assert agree > 0.9
    assert not torch.equal(labels, masks)


def test_rotation_equals_torchvisions():
    """An image is rotated as in torchvision, bilinearly, and its mask by the nearest pixel; outside is black, and ignored in the
    mask.
    """
    images, masks = random_images(4, size=32)
    turn = Augmentation(rotation_degrees=90)
    chosen = drawn(turn, 4)
    changed, labels = move(images, masks, chosen)
    for position, angle in enumerate(chosen.angle_B.tolist()):
        degrees = math.degrees(angle)
        expected = reference.rotate(images[position].float(), degrees, InterpolationMode.BILINEAR)
        differing = (changed[position].float() - expected).abs() > 1.5
        assert differing.float().mean() < 0.02
        nearest = reference.rotate(masks[position][None] + 1, degrees, InterpolationMode.NEAREST)[0] - 1
        nearest[nearest < 0] = IGNORE
        assert (labels[position] != nearest).float().mean() < 0.02


def test_a_crop_of_views_has_no_dark_edge():
    """Where a view's crop ends at the image's edge, the edge is repeated: a bright image stays bright everywhere."""
    images = torch.full((40, 3, 32, 32), 200, dtype=torch.uint8)
    crop = Augmentation(crop_area=(0.08, 1.0))
    changed, _ = augment(crop, images, torch.zeros(40, 1, 1, dtype=torch.long), drawn(crop, 40))
    assert int(changed.min()) == 200


def test_a_crop_is_a_square_of_the_drawn_share():
    """A crop is a square of the drawn side at the drawn position, enlarged; no pixel comes from outside the image."""
    size = 64
    ramp = torch.arange(size).repeat(size, 1)
    images = torch.stack([ramp * 3, ramp.T * 3, ramp])[None].repeat(6, 1, 1, 1).to(torch.uint8)
    masks = torch.zeros(6, size, size, dtype=torch.long)
    crop = Augmentation(crop=0.5)
    chosen = drawn(crop, 6)
    changed, labels = move(images, masks, chosen)
    assert not (labels == IGNORE).any()
    for position in range(6):
        side = float(chosen.sides_B2[position, 0]) * size
        left = float(chosen.position_B2[position, 0]) * (size - side)
        columns = changed[position, 0, size // 2].float() / 3
        assert float(columns[0]) == pytest.approx(left, abs=1.0)
        assert float(columns[-1] - columns[0]) == pytest.approx(side, abs=2.0)
        assert 0.5 <= side / size <= 1


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_colour_changes_equal_torchvisions(name):
    """Each of the four colour changes equals torchvision's for the same factor, image by image."""
    images = random_images()[0].float() / 255
    only = Augmentation(**{name: 0.4 if name == "hue" else 0.8})
    chosen = drawn(only)
    changed = jitter(images, only.jitters, chosen)
    change = getattr(reference, f"adjust_{name}")
    for position, factor in enumerate(chosen.factors_BJ[:, 0].tolist()):
        expected = change(images[position], factor)
        torch.testing.assert_close(changed[position], expected, atol=1e-3, rtol=0)


def test_colours_change_in_the_drawn_order():
    """Each image's four colour changes are applied in that image's random order."""
    images = random_images(8)[0].float() / 255
    chosen = drawn(STRONG, 8)
    assert len({tuple(order) for order in chosen.order_BJ.tolist()}) > 3
    changed = jitter(images, STRONG.jitters, chosen)
    for position in range(8):
        expected = images[position]
        for number in chosen.order_BJ[position].tolist():
            change = getattr(reference, f"adjust_{STRONG.jitters[number]}")
            expected = change(expected, float(chosen.factors_BJ[position, number]))
        torch.testing.assert_close(changed[position], expected, atol=5e-3, rtol=0)


def test_blur_equals_torchvisions():
    """Each image is blurred with its own standard deviation, as torchvision blurs with a 3x3 kernel."""
    images = random_images()[0].float() / 255
    sigmas = torch.tensor([0.1, 0.5, 1.0, 1.5, 2.0])
    changed = blur(images, sigmas)
    for position, sigma in enumerate(sigmas.tolist()):
        expected = reference.gaussian_blur(images[position], [3, 3], [sigma, sigma])
        torch.testing.assert_close(changed[position], expected, atol=1e-4, rtol=0)


def test_draws_lie_in_their_ranges():
    """Angles, factors and widths fill their ranges and stay within them; about half of the images are flipped."""
    chosen = drawn(STRONG, 400)
    assert chosen.angle_B.abs().max() <= math.pi / 2 < 1.1 * chosen.angle_B.abs().max()
    for number, name in enumerate(STRONG.jitters):
        low, high = (-0.1, 0.1) if name == "hue" else (0.0, 2.0)
        factors = chosen.factors_BJ[:, number]
        assert low <= factors.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < factors.max() <= high
    assert 0.1 <= chosen.sigma_B.min() < 0.2
    assert 1.9 < chosen.sigma_B.max() <= 2.0
    assert 150 < int(chosen.flip_B.sum()) < 250


def test_only_the_chosen_images_are_changed():
    """If some images are originals and others copies, the originals stay equal bit by bit."""
    images, masks = random_images(6)
    copies = np.array([False, True, False, True, True, False])
    changed, labels = augment(STRONG, images, masks, drawn(STRONG, 6), copies)
    assert torch.equal(changed[~copies], images[~copies])
    assert torch.equal(labels[~copies], masks[~copies])
    assert all(not torch.equal(changed[row], images[row]) for row in np.flatnonzero(copies))


def test_flip_mirrors_pairs():
    """Each chosen image is flipped from left to right with its mask; no other image is."""
    images = torch.randint(0, 256, (200, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    chosen = drawn(Augmentation(flip=0.5), 200).flip_B
    turned, turned_masks = flip(images, images[:, 0].long(), chosen)
    assert torch.equal(turned[chosen], images[chosen].flip(-1))
    assert torch.equal(turned[~chosen], images[~chosen])
    assert torch.equal(turned[:, 0].long(), turned_masks)
