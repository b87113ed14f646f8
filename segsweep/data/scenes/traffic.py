"""Objects in a street: vehicles, people, trees and signs.

Lengths are in metres, relative to the object's point on the ground, with x forward and y down.
"""

from collections.abc import Sequence

import numpy as np

from segsweep.data.scenes import surfaces
from segsweep.data.scenes.canvas import Field, Random
from segsweep.data.scenes.painting import Scene, relief
from segsweep.data.scenes.shapes import Shape

Colour = tuple[float, float, float]  # red, green, blue in 0..1
Palette = tuple[Colour, ...]

SUN = -0.7 * np.pi  # direction of the light
PAINTS: Palette = (
    (0.72, 0.12, 0.10), (0.14, 0.22, 0.55), (0.86, 0.86, 0.84), (0.13, 0.13, 0.15), (0.55, 0.57, 0.60), (0.15, 0.38, 0.27),
    (0.62, 0.50, 0.30),
)  # fmt: skip
LIVERIES: Palette = ((0.78, 0.16, 0.12), (0.88, 0.72, 0.16), (0.18, 0.36, 0.66), (0.82, 0.82, 0.78))
CLOTHES: Palette = ((0.65, 0.20, 0.20), (0.20, 0.28, 0.50), (0.75, 0.72, 0.62), (0.20, 0.20, 0.22), (0.30, 0.45, 0.30))
SKIN: Palette = ((0.85, 0.66, 0.54), (0.70, 0.50, 0.38), (0.45, 0.31, 0.23))
BARK: Colour = (0.32, 0.25, 0.19)
GLASS: Colour = (0.22, 0.28, 0.34)
TYRE: Colour = (0.08, 0.08, 0.09)
HEADLAMP: Colour = (0.98, 0.95, 0.80)
TAIL_LAMP: Colour = (0.85, 0.12, 0.08)
METAL: Colour = (0.50, 0.51, 0.53)
WHITE: Colour = (0.93, 0.93, 0.92)
RED: Colour = (0.80, 0.10, 0.12)
BOARDS: Palette = ((0.10, 0.28, 0.68), (0.08, 0.45, 0.28))


def flat(colour: Colour) -> Field:
    """Return one colour as a surface (3, 1, 1)."""
    return np.array(colour).reshape(3, 1, 1)


def some(rng: Random, colours: Palette) -> Field:
    """Return a slightly varied colour of a palette, (3, 1, 1)."""
    return np.clip(flat(colours[rng.integers(len(colours))]) + rng.uniform(-0.06, 0.06, (3, 1, 1)), 0.03, 0.97)


def _box(shape: Shape, left: float, top: float, right: float, bottom: float) -> None:
    shape.patch((left, top), (right, top), (right, bottom), (left, bottom))


def _vehicle(scene: Scene, label: int, half_m: float, parts: Sequence[tuple[Shape, Field]]) -> None:
    """Paint a vehicle, its body first, and its shadow, which keeps the label of the road."""
    body, colour = parts[0]
    shadow = body.like()
    shadow.oval(0, -0.05, 1.1 * half_m, 0.2)
    scene.lay(shadow.distance, 0.5 * scene.image)
    scene.lay(body.distance, colour * (1 + 0.3 * relief(body.distance, SUN)), label)
    for shape, colour in parts[1:]:
        scene.lay(shape.distance, colour, label)


def _car_from_the_side(rng: Random, scene: Scene, at: Shape, label: int) -> None:
    body, glass, wheels, hubs = (at.like() for _ in range(4))
    roof, rear = rng.uniform(1.35, 1.6), rng.uniform(-1.9, -1.2)
    body.patch((-2.1, -0.28), (-2.1, -0.78), (-1.8, -0.9), (1.5, -0.88), (2.1, -0.7), (2.12, -0.28))
    body.patch((rear - 0.3, -0.85), (rear + 0.2, -roof), (0.4, -roof), (1.15, -0.85))
    glass.patch((rear + 0.05, -0.9), (rear + 0.35, 0.14 - roof), (-0.42, 0.14 - roof), (-0.42, -0.9))
    glass.patch((-0.25, -0.9), (-0.25, 0.14 - roof), (0.32, 0.14 - roof), (0.9, -0.9))
    for x in (-1.3, 1.32):
        wheels.oval(x, -0.34, 0.36, 0.36)
        hubs.oval(x, -0.34, 0.16, 0.16)
    parts = ((body, some(rng, PAINTS)), (glass, flat(GLASS)), (wheels, flat(TYRE)), (hubs, flat(METAL)))
    _vehicle(scene, label, 2.1, parts)


def _car_from_the_front(rng: Random, scene: Scene, at: Shape, label: int) -> None:
    """Paint an oncoming car with white lamps, or a car ahead with red lamps."""
    body, glass, wheels, lamps, plate = (at.like() for _ in range(5))
    roof = rng.uniform(1.4, 1.65)
    body.patch((-0.88, -0.22), (-0.92, -0.8), (0.92, -0.8), (0.88, -0.22))
    body.patch((-0.84, -0.78), (-0.62, -roof), (0.62, -roof), (0.84, -0.78))
    glass.patch((-0.68, -0.86), (-0.53, 0.13 - roof), (0.53, 0.13 - roof), (0.68, -0.86))
    for x in (-0.68, 0.68):
        _box(wheels, x - 0.14, -0.3, x + 0.14, 0.0)
        lamps.oval(x, -0.62, 0.16, 0.11)
    _box(plate, -0.28, -0.5, 0.28, -0.36)
    lamp = flat(HEADLAMP if rng.random() < 0.5 else TAIL_LAMP)
    parts = ((body, some(rng, PAINTS)), (glass, flat(GLASS)), (wheels, flat(TYRE)), (lamps, lamp), (plate, flat(WHITE)))
    _vehicle(scene, label, 0.9, parts)


def car(rng: Random, scene: Scene, at: Shape, label: int, crossing: bool) -> None:
    """Paint a car from the side if it crosses the street, otherwise from the front or behind."""
    (_car_from_the_side if crossing else _car_from_the_front)(rng, scene, at, label)


def bus(rng: Random, scene: Scene, at: Shape, label: int, crossing: bool) -> None:
    """Paint a bus from the side if it crosses the street, otherwise from the front or behind."""
    body, glass, wheels, lamps = (at.like() for _ in range(4))
    half = 4.6 if crossing else 1.25
    _box(body, -half, -3.1, half, -0.3)
    if crossing:
        for x in np.linspace(-4.0, 3.9, 6):
            _box(glass, x - 0.6, -2.6, x + 0.6, -1.6)
    else:
        _box(glass, -1.05, -2.45, 1.05, -1.25)
    for x in (-0.64 * half, 0.66 * half):
        wheels.oval(x, -0.42, 0.48 if crossing else 0.24, 0.46)
        lamps.oval(half - 0.2 if crossing else x * 1.15, -0.75, 0.14, 0.14)
    parts = ((body, some(rng, LIVERIES)), (glass, flat(GLASS)), (wheels, flat(TYRE)), (lamps, flat(HEADLAMP)))
    _vehicle(scene, label, half, parts)


def person(rng: Random, scene: Scene, at: Shape, label: int) -> None:
    """Paint a standing or walking person."""
    legs, coat, head = (at.like() for _ in range(3))
    stride = rng.uniform(0.05, 0.3)
    for x in (-stride, stride):
        legs.limb((0, -0.85), (x, -0.06), 0.13, 0.1)
    coat.limb((0, -1.35), (0, -0.8), 0.24, 0.2)
    coat.limb((0.05, -1.35), (0.05 + stride, -0.9), 0.1, 0.08)
    head.oval(0.02, -1.68, 0.15, 0.18)
    for shape, colours in ((legs, CLOTHES), (coat, CLOTHES), (head, SKIN)):
        scene.lay(shape.distance, some(rng, colours), label)


def tree(rng: Random, scene: Scene, at: Shape, label: int, leaves: Palette) -> None:
    """Paint a tree whose crown has a ragged edge."""
    trunk, crown = at.like(), at.like()
    height = rng.uniform(3.4, 5.0)
    trunk.limb((0, 0), (0, -height), 0.2, 0.12)
    for _ in range(4):
        x, y = rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.6)
        crown.oval(x, y - height, rng.uniform(0.8, 1.3), rng.uniform(0.8, 1.2))
    scene.lay(trunk.distance, flat(BARK), label)
    foliage = surfaces.blotches(rng)
    surface = some(rng, leaves) * (1 + 0.16 * foliage + 0.3 * relief(crown.distance, SUN))
    scene.lay(crown.distance + 1.2 * foliage, surface, label)


def _pole(scene: Scene, at: Shape, height: float) -> None:
    """Paint a pole, which keeps the labels behind it."""
    pole = at.like()
    pole.limb((0, 0), (0, -height), 0.07, 0.07)
    scene.lay(pole.distance, flat(METAL))


def rimmed_sign(rng: Random, scene: Scene, at: Shape, label: int) -> None:
    """Paint a white triangle or disc with a red rim on a pole."""
    _pole(scene, at, 2.6)
    plate, field, mark = (at.like() for _ in range(3))
    if rng.random() < 0.5:
        plate.patch((-0.72, -2.35), (0.72, -2.35), (0, -3.6))
        field.patch((-0.4, -2.55), (0.4, -2.55), (0, -3.22))
        _box(mark, -0.06, -3.0, 0.06, -2.65)
    else:
        plate.oval(0, -2.95, 0.62, 0.62)
        field.oval(0, -2.95, 0.42, 0.42)
        _box(mark, -0.26, -3.02, 0.26, -2.88)
    for shape, colour in ((plate, RED), (field, WHITE), (mark, TYRE)):
        scene.lay(shape.distance, flat(colour), label)


def board_sign(rng: Random, scene: Scene, at: Shape, label: int) -> None:
    """Paint a blue or green square with white lines of text on a pole."""
    _pole(scene, at, 2.4)
    plate, writing = at.like(), at.like()
    half = rng.uniform(0.5, 0.7)
    _box(plate, -half, -2.3 - 2 * half, half, -2.3)
    for y in (-2.3 - 1.4 * half, -2.3 - 0.65 * half):
        _box(writing, -0.7 * half, y - 0.08, rng.uniform(0.1, 0.7) * half, y + 0.08)
    scene.lay(plate.distance, some(rng, BOARDS), label)
    scene.lay(writing.distance, flat(WHITE), label)
