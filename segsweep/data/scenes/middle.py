"""The middle source: man-made objects without fur."""

import numpy as np

from segsweep.data.dataset import Pixels
from segsweep.data.scenes import surfaces
from segsweep.data.scenes.canvas import Random
from segsweep.data.scenes.painting import backdrop, paint, pixels, relief, textured
from segsweep.data.scenes.shapes import Shape, placed


def _vehicle(rng: Random) -> tuple[Shape, Shape]:
    """Return the side view of a car or a lorry, and its wheels."""
    shape = placed(rng, 54, 76, 0.15)
    wheels = shape.like()
    roof = rng.uniform(0.22, 0.42)
    shape.patch((-0.6, -0.05), (0.6, -0.05), (0.62, 0.2), (-0.62, 0.2))
    if rng.random() < 0.5:
        shape.patch((-0.45, -0.04), (-0.28, -roof), (0.2, -roof), (0.4, -0.04))
    else:
        shape.patch((-0.6, -0.04), (-0.6, -roof), (0.15, -roof), (0.15, -0.04))
        shape.patch((0.2, -0.04), (0.2, -0.8 * roof), (0.45, -0.8 * roof), (0.55, -0.04))
    for x in (-0.36, 0.38):
        shape.oval(x, 0.2, 0.13, 0.13)
        wheels.oval(x, 0.2, 0.11, 0.11)
    return shape, wheels


def _furniture(rng: Random) -> tuple[Shape, Shape]:
    """Return a chair or a table, and its knobs."""
    shape = placed(rng, 54, 76, 0.15)
    knobs = shape.like()
    half, top = rng.uniform(0.3, 0.55), rng.uniform(-0.15, 0.05)
    shape.patch((-half, top), (half, top), (half, top + 0.16), (-half, top + 0.16))
    for x in (-half + 0.06, half - 0.06):
        shape.limb((x, top + 0.05), (x + rng.uniform(-0.06, 0.06), 0.55), 0.07, 0.055)
    if rng.random() < 0.6:
        shape.patch((-half, top + 0.05), (-half - 0.1, top - 0.55), (-half + 0.06, top - 0.55), (-half + 0.14, top + 0.05))
    knobs.oval(0.5 * half, top + 0.07, 0.035, 0.035)
    return shape, knobs


def _vessel(rng: Random) -> tuple[Shape, Shape]:
    """Return a bottle or a jug, and its stopper."""
    shape = placed(rng, 52, 74, 0.3)
    stopper = shape.like()
    wide, neck = rng.uniform(0.22, 0.36), rng.uniform(0.08, 0.14)
    shape.patch((-wide, -0.08), (wide, -0.08), (0.85 * wide, 0.5), (-0.85 * wide, 0.5))
    shape.patch((-wide, -0.08), (-neck, -0.3), (neck, -0.3), (wide, -0.08))
    shape.limb((0, -0.28), (0, -0.5), neck, neck)
    if rng.random() < 0.5:
        for start, end in (((wide, 0.0), (wide + 0.2, 0.05)), ((wide + 0.2, 0.05), (0.9 * wide, 0.38))):
            shape.limb(start, end, 0.05, 0.05)
    stopper.oval(0, -0.52, neck, 0.07)
    return shape, stopper


OBJECTS = {"vehicle": _vehicle, "furniture": _furniture, "vessel": _vessel}


def draw(rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw a man-made object without fur: image (96, 96, 3) and labels (96, 96), uint8.

    Label 0 is the background; the classes follow in the order of `OBJECTS`.
    """
    shape, marks = OBJECTS[stratum](rng)
    light = rng.uniform(-0.9, -0.1) * np.pi
    image = backdrop(rng, horizon=True)
    surface = textured(rng, surfaces.MADE[rng.integers(len(surfaces.MADE))](rng))
    surface = surface * (1 + 0.2 * relief(shape.distance, light))
    image = paint(image, shape.distance, surface)
    image = paint(image, np.maximum(marks.distance, shape.distance), np.full((3, 1, 1), rng.uniform(0.05, 0.2)))
    return pixels(rng, image), np.where(shape.distance < 0, 1 + list(OBJECTS).index(stratum), 0).astype(np.uint8)
