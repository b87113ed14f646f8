"""The near source: birds, fish and people with the same fur and light as the target's animals."""

import numpy as np

from segsweep.data.dataset import Pixels
from segsweep.data.scenes.canvas import Random
from segsweep.data.scenes.painting import furry_scene
from segsweep.data.scenes.shapes import Shape, placed


def _bird(rng: Random) -> tuple[Shape, Shape]:
    """Return a standing or flying bird, and its marks."""
    shape = placed(rng, 52, 74, 0.5)
    marks = shape.like()
    shape.oval(0, 0, 0.4, rng.uniform(0.2, 0.27), turn=0.2 - rng.uniform(0, 0.6))
    shape.oval(0.36, -0.26, 0.17, 0.16)
    shape.limb((0.2, -0.05), (0.36, -0.24), 0.18, 0.13)
    shape.patch((0.48, -0.34), (0.74, -0.24), (0.48, -0.18))
    shape.patch((-0.25, -0.12), (-0.78, 0.02), (-0.72, 0.24), (-0.25, 0.12))
    if rng.random() < 0.5:
        tip = rng.uniform(-0.4, 0.1)
        shape.patch((0.18, -0.05), (tip, -0.72), (tip - 0.25, -0.6), (-0.25, 0.0))
        shape.patch((0.12, 0.05), (tip - 0.1, 0.6), (tip - 0.3, 0.45), (-0.2, 0.05))
    else:
        for x in (-0.02, 0.12):
            shape.limb((x, 0.15), (x + rng.uniform(-0.05, 0.05), 0.5), 0.05, 0.035)
    marks.oval(0.42, -0.29, 0.035, 0.035)
    return shape, marks


def _fish(rng: Random) -> tuple[Shape, Shape]:
    """Return the side view of a fish, and its marks."""
    shape = placed(rng, 50, 72, 0.6)
    marks = shape.like()
    thick = rng.uniform(0.2, 0.34)
    shape.oval(0.08, 0, 0.48, thick)
    spread = rng.uniform(0.2, 0.36)
    shape.patch((-0.3, 0), (-0.74, -spread), (-0.62, 0))
    shape.patch((-0.3, 0), (-0.62, 0), (-0.74, spread))
    shape.patch((0.25, -0.8 * thick), (-0.1, -thick - 0.2), (-0.25, -0.6 * thick))
    shape.patch((0.1, 0.8 * thick), (-0.1, thick + 0.16), (-0.16, 0.7 * thick))
    marks.oval(0.36, -0.25 * thick, 0.04, 0.04)
    return shape, marks


def _person(rng: Random) -> tuple[Shape, Shape]:
    """Return a person in a shaggy coat, with arms and legs in random positions, and its marks."""
    shape = placed(rng, 54, 74, 0.3)
    marks = shape.like()
    width = rng.uniform(0.13, 0.2)
    shape.oval(0, -0.5, 0.15, 0.17)
    shape.limb((0, -0.22), (0, 0.12), width, width * 0.9)
    for side in (-1, 1):
        knee = (side * rng.uniform(0.1, 0.25), 0.36)
        shape.limb((side * 0.08, 0.12), knee, 0.11, 0.09)
        shape.limb(knee, (side * rng.uniform(0.08, 0.35), 0.6), 0.09, 0.065)
        elbow = (side * rng.uniform(0.26, 0.38), rng.uniform(-0.4, 0.05))
        shape.limb((side * width, -0.26), elbow, 0.08, 0.065)
        shape.limb(elbow, (elbow[0] + side * rng.uniform(-0.1, 0.2), elbow[1] + rng.uniform(-0.25, 0.25)), 0.065, 0.05)
        marks.oval(side * 0.055, -0.52, 0.025, 0.03)
    return shape, marks


FIGURES = {"bird": _bird, "fish": _fish, "person": _person}


def draw(rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw a figure other than a pet on a clouded background: image (96, 96, 3) and labels (96, 96), uint8.

    Label 0 is the background, 1 the figure.
    """
    figure, marks = FIGURES[stratum](rng)
    image, distance = furry_scene(rng, figure, marks, horizon=False)
    return image, (distance < 0).astype(np.uint8)
