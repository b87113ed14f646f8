"""Painting: the colours, light and backgrounds of all figures, and the scene around a furry figure."""

import numpy as np

from segsweep.data.dataset import Pixels
from segsweep.data.scenes import surfaces
from segsweep.data.scenes.canvas import SIZE_PX, Field, Random, X, Y
from segsweep.data.scenes.shapes import Shape


def _colour(rng: Random) -> Field:
    """Return a colour (3, 1, 1) from the distribution that figures, objects and backgrounds share."""
    return np.clip(rng.uniform(0.25, 0.75) + rng.uniform(-0.16, 0.16, (3, 1, 1)), 0.05, 0.95)


def relief(distance: Field, light: float) -> Field:
    """Return the brightness (H, W), in -1..1, of a shape that bulges towards the viewer, for light from an angle in radians."""
    depth = max(2.0, -0.8 * float(distance.min()))
    inside = np.clip(-distance / depth, 0, 1)
    rise_y, rise_x = np.gradient(depth * np.sqrt(inside * (2 - inside)))
    facing: Field = -(rise_x * np.cos(light) + rise_y * np.sin(light))
    return np.clip(facing, -1, 1)


def textured(rng: Random, texture: Field) -> Field:
    """Return a textured surface (3, H, W) of two colours, for a texture (H, W)."""
    patches = surfaces.clouds(rng, 24)
    patches = np.clip(6 * (patches - rng.uniform(0.35, 0.75)), 0, 1)
    first, second = _colour(rng), _colour(rng)
    return first + (second - first) * patches + rng.uniform(0.07, 0.13) * texture


def paint(image: Field, distance: Field, surface: Field) -> Field:
    """Paint a surface onto the image where the distance (H, W) is negative, with a soft edge of one pixel.

    Image and surface are (3, H, W), or shapes that broadcast to it.
    """
    return image + (surface - image) * np.clip(0.5 - distance, 0, 1)


class Scene:
    """An image (3, H, W) and its labels (H, W), onto which surfaces are painted, distant ones first."""

    def __init__(self) -> None:
        self.image: Field = np.zeros((3, SIZE_PX, SIZE_PX))
        self.labels: Pixels = np.zeros((SIZE_PX, SIZE_PX), np.uint8)

    def lay(self, distance: Field, surface: Field, label: int | None = None) -> None:
        """Paint a surface where the distance (H, W) is negative; without a label, the labels below it stay."""
        touched = distance < 0.5
        rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
        if len(rows) == 0:
            return
        box = np.s_[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # most objects are small
        surface = np.broadcast_to(surface, self.image.shape)
        self.image[box] = paint(self.image[box], distance[box[1:]], surface[box])
        if label is not None:
            self.labels[distance < 0] = label


def backdrop(rng: Random, horizon: bool) -> Field:
    """Return a background (3, H, W): a wall and a floor, or one clouded surface."""
    image = textured(rng, surfaces.blotches(rng))
    if not horizon:
        return image + 0.25 * (surfaces.clouds(rng, 15) - 0.5)
    edge = rng.uniform(0.3, 0.8) * SIZE_PX + rng.uniform(-0.2, 0.2) * (X - SIZE_PX / 2)
    texture = surfaces.LIFELESS[rng.integers(len(surfaces.LIFELESS))](rng)
    return paint(image, edge - Y, textured(rng, texture))


def _object(rng: Random, image: Field, light: float, size_px: tuple[float, float]) -> tuple[Field, Field]:
    """Paint a ball, a box or a roll that belongs to the background; return the image and the distance (H, W) to the object."""
    centre = (rng.uniform(0, SIZE_PX), rng.uniform(0, SIZE_PX))
    shape = Shape(centre, rng.uniform(*size_px), rng.uniform(0, np.pi))
    kind, ratio = rng.integers(3), rng.uniform(0.5, 1.0)
    if kind == 0:
        shape.oval(0, 0, 1, max(0.75, ratio))
    elif kind == 1:
        shape.patch((-1, -ratio), (1, -ratio), (1, ratio), (-1, ratio))
    else:
        shape.limb((-0.8, 0), (0.8, 0), 0.5 * ratio, 0.5 * ratio)
    surface = textured(rng, surfaces.LIFELESS[rng.integers(len(surfaces.LIFELESS))](rng))
    surface = surface * (1 + 0.35 * relief(shape.distance, light))
    return paint(image, shape.distance, surface), shape.distance


def pixels(rng: Random, image: Field) -> Pixels:
    """Return an image (3, H, W) in 0..1 as (H, W, 3) uint8, with weak noise."""
    grain = 0.04 * (rng.random((SIZE_PX, SIZE_PX)) - 0.5)
    levels = np.rint(np.clip(image + grain, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def furry_scene(rng: Random, figure: Shape, marks: Shape, horizon: bool) -> tuple[Pixels, Field]:
    """Return an image (H, W, 3), uint8, of a furry figure among objects, and the distance (H, W) to its visible part."""
    light = rng.uniform(-0.9, -0.1) * np.pi
    image = backdrop(rng, horizon)
    for _ in range(rng.integers(2, 5)):
        image, _ = _object(rng, image, light, (9, 21))
    fur = surfaces.fur(rng)
    surface = textured(rng, fur) * (1 + 0.35 * relief(figure.distance, light))
    image = paint(image, figure.distance + 0.8 * fur, surface)
    image = paint(image, np.maximum(marks.distance, figure.distance), np.full((3, 1, 1), rng.uniform(0.05, 0.2)))
    distance = figure.distance
    if rng.random() < 0.35:
        image, nearer = _object(rng, image, light, (6, 11))
        distance = np.maximum(distance, -nearer)
    return pixels(rng, image), distance
