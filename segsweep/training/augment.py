"""Batched augmentation on the training device, with independent parameters per image; masks move with their images.

A generator on the CPU draws the parameters for a whole batch at once, so they depend neither on the device nor on the number of
processes that share the batch.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segsweep.data.dataset import IGNORE
from segsweep.data.splits import Indices
from segsweep.training.metrics import Flags

CROP_TRIES = 10  # as torchvision's RandomResizedCrop
HUE_TURN = 2 * math.pi
JITTERS = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes to an image. Each parameter is drawn uniformly and independently for each image.

    `flip`: probability of a flip from left to right.
    `rotation_degrees`: largest rotation in either direction. Pixels from outside are black, and ignored in the mask.
    `crop`: smallest side of a square crop at a random position, as a share of the side; the crop is resized to the image's size.
    `crop_area`, `crop_ratio`: instead, ranges of a rectangular crop's share of the area and of its ratio of width to height, as
    in torchvision's `RandomResizedCrop`.
    `brightness`, `contrast`, `saturation`: multiplied by a factor of 1 ± this, at least 0.
    `hue`: shifted by up to this share of the colour circle, in either direction.
    `jitter_chance`: probability that these four change at all, in random order, as in torchvision's `ColorJitter`.
    `grey`: probability of conversion to grey.
    `blur_sigma_px`: range of the standard deviation of a Gaussian blur, in pixels.
    `blur_chance`: probability of a blur.
    `blur_kernel`: side of the blur's kernel as a share of the image's side; the kernel is odd and at least 3 pixels.
    """

    flip: float = 0.0
    rotation_degrees: float = 0.0
    crop: float = 1.0
    crop_area: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_chance: float = 1.0
    grey: float = 0.0
    blur_sigma_px: tuple[float, float] | None = None
    blur_chance: float = 1.0
    blur_kernel: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether pixels may move other than by a flip."""
        return self.rotation_degrees > 0 or self.crop < 1 or self.crop_area is not None

    @property
    def jitters(self) -> tuple[str, ...]:
        """The names of the four colour changes that may happen."""
        return tuple(name for name in JITTERS if getattr(self, name) > 0)


AUGMENTATIONS: Mapping[str, Augmentation] = {
    "none": Augmentation(),
    "flip": Augmentation(flip=0.5),
    # study 3 names its three augmentations without their strengths; these are those of torchvision's segmentation reference and
    # of ColorJitter's documentation: scales from a half, factors of 1 ± 0.5
    "crop_flip_jitter": Augmentation(flip=0.5, crop=0.5, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.05),
    "rotate_flip_jitter_blur": Augmentation(
        flip=0.5, rotation_degrees=90, brightness=1, contrast=1, saturation=1, hue=0.1, blur_sigma_px=(0.1, 2.0)
    ),
}


@dataclass(frozen=True)
class Drawn:
    """Random parameters of an augmentation for a batch of B images and J colour changes, on the CPU.

    `flip_B`: (B,), bool, whether to flip.
    `angle_B`: (B,), rotation in radians.
    `sides_B2`: (B, 2), the crop's shares of width and height.
    `position_B2`: (B, 2), x and y of the crop, in 0..1 of the remaining width and height.
    `factors_BJ`: (B, J), strengths of the colour changes, in the order of `Augmentation.jitters`.
    `order_BJ`: (B, J), int64, the order in which each image's colour changes are applied.
    `grey_B`: (B,), bool, whether to convert to grey.
    `sigma_B`: (B,), standard deviation of the blur in pixels, 0 for none.
    """

    flip_B: Tensor
    angle_B: Tensor
    sides_B2: Tensor
    position_B2: Tensor
    factors_BJ: Tensor
    order_BJ: Tensor
    grey_B: Tensor
    sigma_B: Tensor

    def rows(self, positions: Indices) -> "Drawn":
        """Return the parameters of the images at some positions (R,), int64."""
        chosen = torch.from_numpy(positions)
        return Drawn(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def draw(augmentation: Augmentation, count: int, chance: torch.Generator) -> Drawn:
    """Draw the parameters for `count` images. Changes that the augmentation does not make consume no random numbers."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        if low == high:
            return torch.full((count, *shape), low)
        return low + (high - low) * torch.rand((count, *shape), generator=chance)

    def happens(share: float) -> Tensor:
        if share in (0, 1):
            return torch.full((count,), bool(share))
        return torch.rand(count, generator=chance) < share

    flip_B = happens(augmentation.flip)
    turn = math.radians(augmentation.rotation_degrees)
    angle_B, side_B = uniform(-turn, turn), uniform(augmentation.crop, 1.0)
    sides_B2 = _rectangles(augmentation, count, chance) if augmentation.crop_area else side_B[:, None].expand(-1, 2)
    position_B2 = uniform(0.0, 1.0 if augmentation.crop < 1 or augmentation.crop_area else 0.0, 2)
    factors = []
    for name in augmentation.jitters:
        strength = getattr(augmentation, name)
        factors.append(uniform(-strength, strength) if name == "hue" else uniform(max(0.0, 1 - strength), 1 + strength))
    jitters = len(factors)
    order_BJ = torch.rand(count, jitters, generator=chance).argsort(dim=1) if jitters else torch.zeros(count, 0, dtype=torch.long)
    factors_BJ = torch.stack(factors, dim=1) if factors else torch.zeros(count, 0)
    if jitters and augmentation.jitter_chance < 1:
        unchanged_J = torch.tensor([0.0 if name == "hue" else 1.0 for name in augmentation.jitters])
        factors_BJ = torch.where(happens(augmentation.jitter_chance)[:, None], factors_BJ, unchanged_J)
    grey_B, sigma_B = happens(augmentation.grey), uniform(*(augmentation.blur_sigma_px or (0.0, 0.0)))
    return Drawn(
        flip_B, angle_B, sides_B2, position_B2, factors_BJ, order_BJ, grey_B, sigma_B * happens(augmentation.blur_chance)
    )


def _rectangles(augmentation: Augmentation, count: int, chance: torch.Generator) -> Tensor:
    """Return shares of width and height (B, 2): the first of ten draws that fits into the image, or the whole image."""
    assert augmentation.crop_area is not None
    smallest, largest = augmentation.crop_area
    low, high = map(math.log, augmentation.crop_ratio)
    drawn = torch.rand((count, CROP_TRIES, 2), generator=chance)
    area_BT, ratio_BT = smallest + (largest - smallest) * drawn[..., 0], (low + (high - low) * drawn[..., 1]).exp()
    sides_BT2 = torch.stack([(area_BT * ratio_BT).sqrt(), (area_BT / ratio_BT).sqrt()], dim=2)
    fits_BT = (sides_BT2 <= 1).all(dim=2)
    first_B = fits_BT.int().argmax(dim=1)
    return torch.where(fits_BT.any(dim=1)[:, None], sides_BT2[torch.arange(count), first_B], torch.ones(2))


def augment(
    augmentation: Augmentation, images: Tensor, masks: Tensor, drawn: Drawn, chosen: Flags | None = None
) -> tuple[Tensor, Tensor]:
    """Return augmented images (B, 3, H, W), uint8, and masks (B, H, W), int64.

    Args:
        augmentation: The kinds of changes.
        images: (B, 3, H, W), uint8.
        masks: (B, H, W), int64, class numbers or `IGNORE`.
        drawn: Random parameters of the B images, by `draw`.
        chosen: (B,), bool, the images to change; by default all.
    """
    if chosen is not None:
        rows = np.flatnonzero(chosen)
        indices = torch.from_numpy(rows).to(images.device)
        changed = augment(augmentation, images[indices], masks[indices], drawn.rows(rows))
        return images.index_copy(0, indices, changed[0]), masks.index_copy(0, indices, changed[1])
    if len(images) == 0:
        return images, masks
    if augmentation.flip:
        images, masks = flip(images, masks, drawn.flip_B)
    if augmentation.moves:
        images, masks = move(images, masks, drawn, "border" if augmentation.crop_area else "zeros")
    if augmentation.jitters or augmentation.grey or augmentation.blur_sigma_px:
        floats = jitter(images.float() / 255, augmentation.jitters, drawn)
        if augmentation.grey:
            floats = _colour_changes()["saturation"](floats, 1 - drawn.grey_B.to(floats))
        if augmentation.blur_sigma_px:
            floats = blur(floats, drawn.sigma_B, _kernel_px(augmentation.blur_kernel, floats.shape[-1]))
        images = (floats * 255).round().clamp(0, 255).to(torch.uint8)
    return images, masks


def flip(images_BCHW: Tensor, masks_BHW: Tensor, chosen_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return images (B, C, H, W) and masks (B, H, W), flipped from left to right where `chosen_B` (B,), bool, is true."""
    chosen = chosen_B.to(images_BCHW.device)
    images = torch.where(chosen.view(-1, 1, 1, 1), images_BCHW.flip(-1), images_BCHW)
    return images, torch.where(chosen.view(-1, 1, 1), masks_BHW.flip(-1), masks_BHW)


def move(images_BCHW: Tensor, masks_BHW: Tensor, drawn: Drawn, outside: str = "zeros") -> tuple[Tensor, Tensor]:
    """Return rotated and cropped images (B, 3, H, W), uint8, and masks (B, H, W), int64.

    Images are interpolated bilinearly, masks by the nearest pixel. Pixels from outside an image are black for `outside="zeros"`
    and repeat its edge for `"border"`; in masks they are `IGNORE`.
    """
    cos_B2, sin_B2 = drawn.sides_B2 * drawn.angle_B.cos()[:, None], drawn.sides_B2 * drawn.angle_B.sin()[:, None]
    shift_B2 = (2 * drawn.position_B2 - 1) * (1 - drawn.sides_B2)
    top_B3 = torch.stack([cos_B2[:, 0], -sin_B2[:, 1], shift_B2[:, 0]], 1)
    theta_B23 = torch.stack([top_B3, torch.stack([sin_B2[:, 0], cos_B2[:, 1], shift_B2[:, 1]], 1)], 1)
    grid = functional.affine_grid(theta_B23.to(images_BCHW.device), list(images_BCHW.shape), align_corners=False)
    images = functional.grid_sample(images_BCHW.float(), grid, mode="bilinear", padding_mode=outside, align_corners=False)
    shifted = (masks_BHW + 1)[:, None].float()  # so that 0, the value of pixels from outside, is not a class
    labels = functional.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0].long() - 1
    return images.round().to(torch.uint8), labels.masked_fill(labels < 0, IGNORE)


def jitter(images_BCHW: Tensor, jitters: tuple[str, ...], drawn: Drawn) -> Tensor:
    """Return images (B, 3, H, W), floats in 0..1, with changed colours; each image has its own order of changes."""
    change = _colour_changes()
    for index in range(len(jitters)):
        for number, name in enumerate(jitters):
            rows = torch.nonzero(drawn.order_BJ[:, index] == number)[:, 0]
            if len(rows):
                factors = drawn.factors_BJ[rows, number].to(images_BCHW.device)
                on_device = rows.to(images_BCHW.device)
                images_BCHW = images_BCHW.index_copy(0, on_device, change[name](images_BCHW[on_device], factors))
    return images_BCHW


def _colour_changes() -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
    from kornia import enhance  # its import takes half a second, which only runs with colour changes need

    return {
        "brightness": enhance.adjust_brightness_accumulative,
        "contrast": enhance.adjust_contrast_with_mean_subtraction,
        "saturation": enhance.adjust_saturation_with_gray_subtraction,
        "hue": lambda images, factors: enhance.adjust_hue(images, factors * HUE_TURN),
    }


def blur(images_BCHW: Tensor, sigma_B: Tensor, kernel_px: int = 3) -> Tensor:
    """Return images (B, C, H, W), floats, blurred by Gaussians of `sigma_B` (B,) pixels; 0 means no blur."""
    from kornia.filters import gaussian_blur2d

    rows = torch.nonzero(sigma_B)[:, 0]
    on_device, sigma_R2 = rows.to(images_BCHW.device), sigma_B[rows].to(images_BCHW.device)[:, None].expand(-1, 2)
    if len(rows) == 0:
        return images_BCHW
    blurred: Tensor = gaussian_blur2d(images_BCHW[on_device], (kernel_px, kernel_px), sigma_R2)
    return images_BCHW.index_copy(0, on_device, blurred)


def _kernel_px(share: float, side_px: int) -> int:
    """Return the side of a blur's kernel in pixels: odd, at least 3."""
    return max(3, 2 * (round(share * side_px) // 2) + 1)
