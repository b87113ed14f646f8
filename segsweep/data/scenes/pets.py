"""The target: cats, dogs, foxes and rabbits that stand, sit or lie, and portraits of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from segsweep.data.dataset import Pixels
from segsweep.data.scenes.canvas import SIZE_PX, Random
from segsweep.data.scenes.painting import furry_scene
from segsweep.data.scenes.shapes import Shape, placed


@dataclass(frozen=True)
class _Species:
    """The differences between species; lengths are in units of the body."""

    ear: Literal["pointed", "hanging", "long"]
    ear_length: float
    muzzle: float
    tail_length: float
    tail_width: float
    leg: float


SPECIES = {
    "cat": _Species("pointed", 0.20, 0.10, 0.60, 0.05, 0.38),
    "dog": _Species("hanging", 0.26, 0.22, 0.40, 0.05, 0.46),
    "fox": _Species("pointed", 0.28, 0.24, 0.55, 0.12, 0.34),
    "rabbit": _Species("long", 0.46, 0.09, 0.08, 0.09, 0.26),
}


def _head(shape: Shape, marks: Shape, at: tuple[float, float], half: float, species: _Species, frontal: bool) -> None:
    """Add a head with ears and muzzle to a shape, and eyes and nose to its marks. `half` is half the width of the head."""
    x, y = at
    scale = half / 0.21
    shape.oval(x, y, half, half * 0.92)
    length = species.ear_length * scale
    for side in (-1, 1):
        root = x + side * half * (0.55 if frontal else 0.35) - (0.0 if frontal else 0.3 * half)
        if species.ear == "pointed":
            tip = (root + side * 0.2 * half, y - 0.55 * half - length)
            shape.patch((root - 0.42 * half, y - 0.4 * half), tip, (root + 0.42 * half, y - 0.4 * half))
        elif species.ear == "hanging":
            shape.oval(root + side * 0.4 * half, y + 0.1 * half, 0.32 * half, 0.6 * length)
        else:
            tip = (root + side * 0.25 * half, y - 0.6 * half - length)
            shape.limb((root, y - 0.6 * half), tip, 0.28 * half, 0.2 * half)
    if frontal:
        shape.oval(x, y + 0.45 * half, 0.5 * half, (0.4 + species.muzzle) * half)
        for side in (-1, 1):
            marks.oval(x + side * 0.42 * half, y - 0.12 * half, 0.12 * half, 0.15 * half)
        marks.oval(x, y + 0.4 * half, 0.16 * half, 0.11 * half)
    else:
        nose = (x + half * 0.8 + species.muzzle * scale, y + 0.35 * half)
        shape.limb((x + 0.4 * half, y + 0.2 * half), nose, 0.5 * half, 0.26 * half)
        marks.oval(x + 0.4 * half, y - 0.15 * half, 0.12 * half, 0.13 * half)
        marks.oval(nose[0] + 0.12 * half, nose[1] - 0.1 * half, 0.14 * half, 0.12 * half)


def _tail(rng: Random, shape: Shape, root: tuple[float, float], species: _Species, rise: float) -> None:
    """Add a tail of two limbs that starts at the root and rises."""
    lift = rise + rng.uniform(-0.5, 0.3)
    middle = (root[0] - 0.5 * species.tail_length * np.cos(lift), root[1] - 0.5 * species.tail_length * np.sin(lift))
    lift += rng.uniform(0.0, 0.9)
    end = (middle[0] - 0.5 * species.tail_length * np.cos(lift), middle[1] - 0.5 * species.tail_length * np.sin(lift))
    shape.limb(root, middle, 0.06, species.tail_width)
    shape.limb(middle, end, species.tail_width, 0.8 * species.tail_width)


def _standing(rng: Random, species: _Species) -> tuple[Shape, Shape]:
    """Return the side view of a standing animal, and its marks."""
    shape = placed(rng, 46, 66, 0.2)
    marks = shape.like()
    thick = rng.uniform(0.19, 0.26)
    shape.oval(0, 0, 0.5, thick)
    for x in (-0.4, -0.28, 0.26, 0.38):
        foot = x + rng.uniform(-0.14, 0.14)
        shape.limb((x, 0.05), (foot, 0.08 + species.leg), 0.10, 0.055)
    head = (0.52 + rng.uniform(-0.04, 0.1), rng.uniform(-0.42, -0.12))
    shape.limb((0.3, -0.02), head, 0.17, 0.13)
    _head(shape, marks, head, rng.uniform(0.18, 0.23), species, frontal=bool(rng.random() < 0.4))
    _tail(rng, shape, (-0.42, -0.06), species, 0.4)
    return shape, marks


def _sitting(rng: Random, species: _Species) -> tuple[Shape, Shape]:
    """Return a sitting animal, and its marks."""
    shape = placed(rng, 45, 64, 0.2)
    marks = shape.like()
    shape.oval(-0.06, 0.12, 0.42, rng.uniform(0.22, 0.28), turn=-1.1)
    shape.oval(-0.18, 0.34, 0.27, 0.2)
    for x in (0.08, 0.2):
        shape.limb((x, 0.05), (x + rng.uniform(-0.02, 0.1), 0.52), 0.10, 0.06)
    head = (0.12 + rng.uniform(-0.08, 0.1), -0.38)
    _head(shape, marks, head, rng.uniform(0.2, 0.26), species, frontal=bool(rng.random() < 0.6))
    _tail(rng, shape, (-0.32, 0.44), species, 0.1)
    return shape, marks


def _lying(rng: Random, species: _Species) -> tuple[Shape, Shape]:
    """Return a lying animal, and its marks."""
    shape = placed(rng, 47, 68, 0.35)
    marks = shape.like()
    shape.oval(0, 0.04, 0.52, rng.uniform(0.18, 0.24))
    shape.oval(-0.32, 0.06, 0.24, 0.22)
    shape.limb((0.25, 0.16), (0.62 + rng.uniform(-0.1, 0.15), 0.24), 0.09, 0.06)
    shape.limb((-0.3, 0.18), (0.02 + rng.uniform(-0.1, 0.1), 0.26), 0.09, 0.06)
    head = (0.46 + rng.uniform(-0.05, 0.1), rng.uniform(-0.26, -0.08))
    _head(shape, marks, head, rng.uniform(0.2, 0.25), species, frontal=bool(rng.random() < 0.5))
    _tail(rng, shape, (-0.48, 0.12), species, 0.0)
    return shape, marks


def _portrait(rng: Random, species: _Species) -> tuple[Shape, Shape]:
    """Return a head with shoulders, cut by the image's lower edge, and its marks."""
    size_px, centre = rng.uniform(75, 105), (rng.uniform(0.35, 0.65) * SIZE_PX, rng.uniform(0.5, 0.6) * SIZE_PX)
    shape = Shape(centre, size_px, rng.uniform(-0.25, 0.25), bool(rng.random() < 0.5))
    marks = shape.like()
    shape.oval(0, 0.5, rng.uniform(0.26, 0.36), 0.36)
    _head(shape, marks, (rng.uniform(-0.05, 0.05), 0), rng.uniform(0.2, 0.26), species, frontal=True)
    return shape, marks


_POSES = (_standing, _sitting, _lying, _portrait)


def draw(rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw an animal: image (96, 96, 3) and labels (96, 96), uint8.

    Labels are those of Oxford-IIIT Pet minus one: 0 pet, 1 background, 2 boundary.
    """
    figure, marks = _POSES[rng.integers(len(_POSES))](rng, SPECIES[stratum])
    image, distance = furry_scene(rng, figure, marks, horizon=True)
    labels = np.where(distance < -1.2, 0, np.where(distance < 0.8, 2, 1))
    return image, labels.astype(np.uint8)
