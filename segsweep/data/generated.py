"""Procedurally drawn scenes: a target like Oxford-IIIT Pet and three sources at a growing distance from it.

No files are shipped and nothing is downloaded: a picture is a function of (`VERSION`, data set, index) alone.

`generated_pets`, the target, shows furry animals; `generated_near` other figures with the same fur and the same light;
`generated_middle` man-made objects with other surfaces; `generated_far` dark blobs on skin. Figures, backgrounds and
the smooth, dotted, chequered or blotchy things that lie about take their colours and contrasts from one distribution,
so that a network has to learn surface and shape: no threshold finds the figure, except in `generated_far`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from segsweep.data.dataset import Example, Pixels
from segsweep.errors import unknown

VERSION = 1  # to be raised with every change that gives other arrays
SIZE_PX = 96

Field = npt.NDArray[np.float64]  # (H, W), or (3, H, W) for a picture in 0..1; 64 bits, so that rounding hides the platform
Random = np.random.Generator

_Y, _X = (axis.astype(np.float64) for axis in np.mgrid[:SIZE_PX, :SIZE_PX])
_GRID = 64  # cells of the noise grid, a power of two; it repeats beyond

# ------------------------------------------------------------------------------------------------------------ surfaces


def _noise(rng: Random, x: Field, y: Field) -> Field:
    """Return smooth noise in 0..1 at positions that are counted in noise cells."""
    grid = rng.random(_GRID * _GRID)
    column, row = np.floor(x), np.floor(y)
    right, down = x - column, y - row
    right, down = right * right * (3 - 2 * right), down * down * (3 - 2 * down)
    left_index, up_index = column.astype(np.int64) & (_GRID - 1), (row.astype(np.int64) & (_GRID - 1)) * _GRID
    right_index, down_index = (left_index + 1) & (_GRID - 1), (up_index + _GRID) & (_GRID * _GRID - 1)
    up = grid[up_index + left_index] * (1 - right) + grid[up_index + right_index] * right
    low = grid[down_index + left_index] * (1 - right) + grid[down_index + right_index] * right
    return up + (low - up) * down


@cache
def _steps(period: int) -> Field:
    """Return the weights (pixels, cells) that spread a row of cells, `period` pixels wide, over the picture's side."""
    position = np.arange(SIZE_PX) / period
    share = position % 1
    share, cells = share * share * (3 - 2 * share), np.arange(SIZE_PX // period + 2)
    after, share = cells - np.floor(position)[:, None], share[:, None]
    return np.where(after == 0, 1 - share, 0) + np.where(after == 1, share, 0)


def _clouds(rng: Random, period: int) -> Field:
    """Return coarse noise in 0..1, so many pixels from cell to cell; cheaper than `_noise`."""
    steps = _steps(period)
    return steps @ rng.random((steps.shape[1], steps.shape[1])) @ steps.T


def _turned(angle: float) -> tuple[Field, Field]:
    """Return the pixel coordinates along and across a direction, all positive."""
    cos, sin = np.cos(angle), np.sin(angle)
    return _X * cos + _Y * sin + 2 * SIZE_PX, _Y * cos - _X * sin + 2 * SIZE_PX


def _standard(texture: Field) -> Field:
    """Return the texture with mean 0 and spread 1, so that contrast tells nothing about which texture it is."""
    return (texture - float(texture.mean())) / (float(texture.std()) + 1e-6)


def _blotches(rng: Random) -> Field:
    """Return noise without a direction; as fine as fur is across."""
    period = rng.uniform(3.0, 5.5)
    along, across = _turned(rng.uniform(0, np.pi))
    return _standard(_noise(rng, along / period, across / period))


def _fur(rng: Random) -> Field:
    """Return strokes that flow in a direction which bends slowly; coarse enough to survive half the resolution."""
    along, across = _turned(rng.uniform(0, np.pi))
    bend = rng.uniform(3.0, 9.0) * _clouds(rng, 30)
    return _standard(_noise(rng, along / rng.uniform(12, 17), (across + 2 * bend) / rng.uniform(2.6, 3.4)))


def _plain(rng: Random) -> Field:
    """Return a surface with next to nothing on it."""
    return 0.2 * _blotches(rng)


def _checks(rng: Random) -> Field:
    """Return a chequered surface."""
    period = rng.uniform(5, 9)
    along, across = _turned(rng.uniform(0, np.pi))
    return _standard((np.floor(along / period) + np.floor(across / period)) % 2)


def _dots(rng: Random) -> Field:
    """Return round dots on a turned grid."""
    period = rng.uniform(6, 10)
    along, across = _turned(rng.uniform(0, np.pi))
    squared = (along % period - period / 2) ** 2 + (across % period - period / 2) ** 2
    return _standard(np.clip(1.5 + 0.3 * period - np.sqrt(squared), 0, 1.5))


def _bands(rng: Random) -> Field:
    """Return straight, even bands, as on cloth or a facade."""
    period = rng.uniform(8, 14)
    along, _ = _turned(rng.uniform(0, np.pi))
    return _standard(np.clip(np.abs(along % period - period / 2) - period / 4, -1, 1))


_LIFELESS = (_blotches, _blotches, _plain, _checks, _dots)
_MADE = (_plain, _plain, _checks, _bands)

# -------------------------------------------------------------------------------------------------------------- shapes


class _Shape:
    """A union of simple parts, kept as the distance to its outline in pixels: negative inside.

    Parts are placed in units of the shape's size, around its centre, x to the front and y down.
    """

    def __init__(self, centre: tuple[float, float], size_px: float, angle: float = 0.0, flip: bool = False):
        self.distance: Field = np.full((SIZE_PX, SIZE_PX), 1e3)
        self._centre, self._size, self._flip = centre, size_px, -1.0 if flip else 1.0
        self._cos, self._sin = float(np.cos(angle)), float(np.sin(angle))

    def _place(self, x: float, y: float) -> tuple[float, float]:
        x, y = x * self._size * self._flip, y * self._size
        return self._centre[0] + x * self._cos - y * self._sin, self._centre[1] + x * self._sin + y * self._cos

    def _join(self, distance: Field) -> None:
        np.minimum(self.distance, distance, out=self.distance)

    def limb(self, start: tuple[float, float], end: tuple[float, float], wide: float, narrow: float) -> None:
        """Add a rounded limb with the half widths at its two ends."""
        (ax, ay), (bx, by) = self._place(*start), self._place(*end)
        dx, dy = bx - ax, by - ay
        share = np.clip(((_X - ax) * dx + (_Y - ay) * dy) / (dx * dx + dy * dy + 1e-6), 0, 1)
        reach = np.sqrt((_X - ax - share * dx) ** 2 + (_Y - ay - share * dy) ** 2)
        self._join(reach - self._size * (wide + (narrow - wide) * share))

    def oval(self, x: float, y: float, half_x: float, half_y: float, turn: float = 0.0) -> None:
        """Add an ellipse, turned towards the ground in front."""
        (cx, cy), (ax, ay) = self._place(x, y), self._place(x + np.cos(turn), y + np.sin(turn))
        dx, dy = (ax - cx) / self._size, (ay - cy) / self._size
        along = ((_X - cx) * dx + (_Y - cy) * dy) / half_x
        across = ((_Y - cy) * dx - (_X - cx) * dy) / half_y
        self._join((np.sqrt(along**2 + across**2) / self._size - 1) * self._size * min(half_x, half_y))

    def patch(self, *corners: tuple[float, float]) -> None:
        """Add a convex polygon."""
        placed = [self._place(*corner) for corner in corners]
        area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(placed, placed[1:] + placed[:1], strict=True))
        distance: Field = np.full_like(self.distance, -1e3)
        for (ax, ay), (bx, by) in zip(placed, placed[1:] + placed[:1], strict=True):
            dx, dy = bx - ax, by - ay
            scale = (1.0 if area > 0 else -1.0) / (float(np.hypot(dx, dy)) + 1e-6)
            np.maximum(distance, ((_X - ax) * dy - (_Y - ay) * dx) * scale, out=distance)
        self._join(distance)

    def like(self) -> "_Shape":
        """Return an empty shape in the same place, for eyes and wheels."""
        other = _Shape(self._centre, self._size)
        other._flip, other._cos, other._sin = self._flip, self._cos, self._sin
        return other


def _placed(rng: Random, low_px: float, high_px: float, tilt: float) -> _Shape:
    """Return an empty shape somewhere around the middle."""
    centre = (rng.uniform(0.33, 0.67) * SIZE_PX, rng.uniform(0.36, 0.64) * SIZE_PX)
    return _Shape(centre, rng.uniform(low_px, high_px), rng.uniform(-tilt, tilt), bool(rng.random() < 0.5))


# ------------------------------------------------------------------------------------------------------------ painting


def _colour(rng: Random) -> Field:
    """Return a colour of the one distribution that figures, things and backgrounds share."""
    return np.clip(rng.uniform(0.25, 0.75) + rng.uniform(-0.16, 0.16, (3, 1, 1)), 0.05, 0.95)


def _relief(distance: Field, light: float) -> Field:
    """Return how much the light falls on each point of a shape that bulges towards us, in -1..1."""
    depth = max(2.0, -0.8 * float(distance.min()))
    inside = np.clip(-distance / depth, 0, 1)
    rise_y, rise_x = np.gradient(depth * np.sqrt(inside * (2 - inside)))
    facing: Field = -(rise_x * np.cos(light) + rise_y * np.sin(light))
    return np.clip(facing, -1, 1)


def _surface(rng: Random, texture: Field) -> Field:
    """Return a two-coloured, textured surface (3, H, W)."""
    patches = _clouds(rng, 24)
    patches = np.clip(6 * (patches - rng.uniform(0.35, 0.75)), 0, 1)
    first, second = _colour(rng), _colour(rng)
    return first + (second - first) * patches + rng.uniform(0.07, 0.13) * texture


def _paint(picture: Field, distance: Field, surface: Field) -> Field:
    """Return the picture with a surface laid on where the distance is negative, over one pixel at its edge."""
    return picture + (surface - picture) * np.clip(0.5 - distance, 0, 1)


def _backdrop(rng: Random, horizon: bool) -> Field:
    """Return a background: a wall and a floor, or one clouded expanse."""
    picture = _surface(rng, _blotches(rng))
    if not horizon:
        return picture + 0.25 * (_clouds(rng, 15) - 0.5)
    edge = rng.uniform(0.3, 0.8) * SIZE_PX + rng.uniform(-0.2, 0.2) * (_X - SIZE_PX / 2)
    texture = _LIFELESS[rng.integers(len(_LIFELESS))](rng)
    return _paint(picture, edge - _Y, _surface(rng, texture))


def _thing(rng: Random, picture: Field, light: float, size_px: tuple[float, float]) -> tuple[Field, Field]:
    """Return the picture with a ball, a box or a roll that belongs to the background, and the distance to it."""
    centre = (rng.uniform(0, SIZE_PX), rng.uniform(0, SIZE_PX))
    shape = _Shape(centre, rng.uniform(*size_px), rng.uniform(0, np.pi))
    kind, ratio = rng.integers(3), rng.uniform(0.5, 1.0)
    if kind == 0:
        shape.oval(0, 0, 1, max(0.75, ratio))
    elif kind == 1:
        shape.patch((-1, -ratio), (1, -ratio), (1, ratio), (-1, ratio))
    else:
        shape.limb((-0.8, 0), (0.8, 0), 0.5 * ratio, 0.5 * ratio)
    surface = _surface(rng, _LIFELESS[rng.integers(len(_LIFELESS))](rng))
    surface = surface * (1 + 0.35 * _relief(shape.distance, light))
    return _paint(picture, shape.distance, surface), shape.distance


def _pixels(rng: Random, picture: Field) -> Pixels:
    """Return the picture as bytes, with a little grain."""
    grain = 0.04 * (rng.random((SIZE_PX, SIZE_PX)) - 0.5)
    levels = np.rint(np.clip(picture + grain, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _furry_scene(rng: Random, figure: _Shape, marks: _Shape, horizon: bool) -> tuple[Pixels, Field]:
    """Return the picture of a furry figure among things, and the distance to the part of it that can be seen."""
    light = rng.uniform(-0.9, -0.1) * np.pi
    picture = _backdrop(rng, horizon)
    for _ in range(rng.integers(2, 5)):
        picture, _ = _thing(rng, picture, light, (9, 21))
    fur = _fur(rng)
    surface = _surface(rng, fur) * (1 + 0.35 * _relief(figure.distance, light))
    picture = _paint(picture, figure.distance + 0.8 * fur, surface)
    picture = _paint(picture, np.maximum(marks.distance, figure.distance), np.full((3, 1, 1), rng.uniform(0.05, 0.2)))
    distance = figure.distance
    if rng.random() < 0.35:
        picture, nearer = _thing(rng, picture, light, (6, 11))
        distance = np.maximum(distance, -nearer)
    return _pixels(rng, picture), distance


# ---------------------------------------------------------------------------------------------------------------- pets


@dataclass(frozen=True)
class _Species:
    """What tells the animals apart; lengths in units of the body."""

    ear: Literal["pointed", "hanging", "long"]
    ear_length: float
    muzzle: float
    tail_length: float
    tail_width: float
    leg: float


_SPECIES = {
    "cat": _Species("pointed", 0.20, 0.10, 0.60, 0.05, 0.38),
    "dog": _Species("hanging", 0.26, 0.22, 0.40, 0.05, 0.46),
    "fox": _Species("pointed", 0.28, 0.24, 0.55, 0.12, 0.34),
    "rabbit": _Species("long", 0.46, 0.09, 0.08, 0.09, 0.26),
}


def _head(shape: _Shape, marks: _Shape, at: tuple[float, float], half: float, species: _Species, frontal: bool) -> None:
    """Add a head with ears and muzzle; eyes and nose become marks. `half` is the head's half width."""
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


def _tail(rng: Random, shape: _Shape, root: tuple[float, float], species: _Species, rise: float) -> None:
    """Add a tail of two limbs that starts at the root and rises."""
    lift = rise + rng.uniform(-0.5, 0.3)
    middle = (root[0] - 0.5 * species.tail_length * np.cos(lift), root[1] - 0.5 * species.tail_length * np.sin(lift))
    lift += rng.uniform(0.0, 0.9)
    end = (middle[0] - 0.5 * species.tail_length * np.cos(lift), middle[1] - 0.5 * species.tail_length * np.sin(lift))
    shape.limb(root, middle, 0.06, species.tail_width)
    shape.limb(middle, end, species.tail_width, 0.8 * species.tail_width)


def _standing(rng: Random, species: _Species) -> tuple[_Shape, _Shape]:
    """Return an animal on its four legs, from the side, and its marks."""
    shape = _placed(rng, 46, 66, 0.2)
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


def _sitting(rng: Random, species: _Species) -> tuple[_Shape, _Shape]:
    """Return an animal that sits upright, and its marks."""
    shape = _placed(rng, 45, 64, 0.2)
    marks = shape.like()
    shape.oval(-0.06, 0.12, 0.42, rng.uniform(0.22, 0.28), turn=-1.1)
    shape.oval(-0.18, 0.34, 0.27, 0.2)
    for x in (0.08, 0.2):
        shape.limb((x, 0.05), (x + rng.uniform(-0.02, 0.1), 0.52), 0.10, 0.06)
    head = (0.12 + rng.uniform(-0.08, 0.1), -0.38)
    _head(shape, marks, head, rng.uniform(0.2, 0.26), species, frontal=bool(rng.random() < 0.6))
    _tail(rng, shape, (-0.32, 0.44), species, 0.1)
    return shape, marks


def _lying(rng: Random, species: _Species) -> tuple[_Shape, _Shape]:
    """Return an animal that lies stretched out, and its marks."""
    shape = _placed(rng, 47, 68, 0.35)
    marks = shape.like()
    shape.oval(0, 0.04, 0.52, rng.uniform(0.18, 0.24))
    shape.oval(-0.32, 0.06, 0.24, 0.22)
    shape.limb((0.25, 0.16), (0.62 + rng.uniform(-0.1, 0.15), 0.24), 0.09, 0.06)
    shape.limb((-0.3, 0.18), (0.02 + rng.uniform(-0.1, 0.1), 0.26), 0.09, 0.06)
    head = (0.46 + rng.uniform(-0.05, 0.1), rng.uniform(-0.26, -0.08))
    _head(shape, marks, head, rng.uniform(0.2, 0.25), species, frontal=bool(rng.random() < 0.5))
    _tail(rng, shape, (-0.48, 0.12), species, 0.0)
    return shape, marks


def _portrait(rng: Random, species: _Species) -> tuple[_Shape, _Shape]:
    """Return a head with shoulders, cut by the lower edge, and its marks."""
    size_px, centre = rng.uniform(75, 105), (rng.uniform(0.35, 0.65) * SIZE_PX, rng.uniform(0.5, 0.6) * SIZE_PX)
    shape = _Shape(centre, size_px, rng.uniform(-0.25, 0.25), bool(rng.random() < 0.5))
    marks = shape.like()
    shape.oval(0, 0.5, rng.uniform(0.26, 0.36), 0.36)
    _head(shape, marks, (rng.uniform(-0.05, 0.05), 0), rng.uniform(0.2, 0.26), species, frontal=True)
    return shape, marks


_POSES = (_standing, _sitting, _lying, _portrait)


def _draw_pet(rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw an animal; the labels are those of Oxford-IIIT Pet less one: 0 pet, 1 background, 2 boundary."""
    figure, marks = _POSES[rng.integers(len(_POSES))](rng, _SPECIES[stratum])
    picture, distance = _furry_scene(rng, figure, marks, horizon=True)
    labels = np.where(distance < -1.2, 0, np.where(distance < 0.8, 2, 1))
    return picture, labels.astype(np.uint8)


# ---------------------------------------------------------------------------------------------------------------- near


def _bird(rng: Random) -> tuple[_Shape, _Shape]:
    """Return a bird that stands or flies, and its marks."""
    shape = _placed(rng, 52, 74, 0.5)
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


def _fish(rng: Random) -> tuple[_Shape, _Shape]:
    """Return a fish from the side, and its marks."""
    shape = _placed(rng, 50, 72, 0.6)
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


def _person(rng: Random) -> tuple[_Shape, _Shape]:
    """Return somebody in a shaggy coat, arms and legs anywhere, and the marks."""
    shape = _placed(rng, 54, 74, 0.3)
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


_NEAR = {"bird": _bird, "fish": _fish, "person": _person}


def _draw_near(rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw a figure that is no pet, on a clouded background; 0 background, 1 figure."""
    figure, marks = _NEAR[stratum](rng)
    picture, distance = _furry_scene(rng, figure, marks, horizon=False)
    return picture, (distance < 0).astype(np.uint8)


# -------------------------------------------------------------------------------------------------------------- middle


def _vehicle(rng: Random) -> tuple[_Shape, _Shape]:
    """Return a car or a lorry from the side, and its wheels."""
    shape = _placed(rng, 54, 76, 0.15)
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


def _furniture(rng: Random) -> tuple[_Shape, _Shape]:
    """Return a chair or a table, and its knobs."""
    shape = _placed(rng, 54, 76, 0.15)
    knobs = shape.like()
    half, top = rng.uniform(0.3, 0.55), rng.uniform(-0.15, 0.05)
    shape.patch((-half, top), (half, top), (half, top + 0.16), (-half, top + 0.16))
    for x in (-half + 0.06, half - 0.06):
        shape.limb((x, top + 0.05), (x + rng.uniform(-0.06, 0.06), 0.55), 0.07, 0.055)
    if rng.random() < 0.6:
        shape.patch((-half, top + 0.05), (-half - 0.1, top - 0.55), (-half + 0.06, top - 0.55), (-half + 0.14, top + 0.05))
    knobs.oval(0.5 * half, top + 0.07, 0.035, 0.035)
    return shape, knobs


def _vessel(rng: Random) -> tuple[_Shape, _Shape]:
    """Return a bottle or a jug, and its stopper."""
    shape = _placed(rng, 52, 74, 0.3)
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


_MIDDLE = {"vehicle": _vehicle, "furniture": _furniture, "vessel": _vessel}


def _draw_middle(rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw a man-made object without fur; 0 background, then the classes in the order of `_MIDDLE`."""
    shape, marks = _MIDDLE[stratum](rng)
    light = rng.uniform(-0.9, -0.1) * np.pi
    picture = _backdrop(rng, horizon=True)
    surface = _surface(rng, _MADE[rng.integers(len(_MADE))](rng))
    surface = surface * (1 + 0.2 * _relief(shape.distance, light))
    picture = _paint(picture, shape.distance, surface)
    picture = _paint(picture, np.maximum(marks.distance, shape.distance), np.full((3, 1, 1), rng.uniform(0.05, 0.2)))
    return _pixels(rng, picture), np.where(shape.distance < 0, 1 + list(_MIDDLE).index(stratum), 0).astype(np.uint8)


# ----------------------------------------------------------------------------------------------------------------- far

_RAGGED = {"naevus": 3.0, "keratosis": 8.0, "melanoma": 12.0}  # how far the outline strays, in pixels
_SKIN, _DARK = np.array([[[0.86]], [[0.66]], [[0.56]]]), np.array([[[0.42]], [[0.27]], [[0.2]]])


def _draw_far(rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw a dark, soft blob on skin, with hairs over it; 0 background, 1 lesion."""
    skin = _SKIN * rng.uniform(0.75, 1.1) + rng.uniform(-0.04, 0.04, (3, 1, 1))
    picture = skin + 0.10 * (_clouds(rng, 25) - 0.5) + 0.03 * _blotches(rng)
    shape = _placed(rng, 40, 60, np.pi)
    shape.oval(0, 0, rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.45))
    distance = shape.distance + 2 * _RAGGED[stratum] * (_clouds(rng, 13) - 0.5)
    dark = _DARK * rng.uniform(0.7, 1.3) + rng.uniform(-0.04, 0.04, (3, 1, 1))
    mottled = dark * (0.75 + 0.5 * _clouds(rng, 9))
    softness = rng.uniform(2.0, 5.0)
    picture = picture + (mottled - picture) * np.clip(0.5 - distance / softness, 0, 1)
    for _ in range(rng.integers(0, 9)):
        along, across = _turned(rng.uniform(0, np.pi))
        curve = across - across[SIZE_PX // 2, SIZE_PX // 2] - rng.uniform(-45, 45)
        curve = curve + rng.uniform(-0.004, 0.004) * (along - along.mean()) ** 2
        picture = _paint(picture, np.abs(curve) - 0.3, np.full((3, 1, 1), rng.uniform(0.08, 0.25)))
    corners = np.clip((_X - SIZE_PX / 2) ** 2 + (_Y - SIZE_PX / 2) ** 2 - (0.5 * SIZE_PX) ** 2, 0, None)
    picture = picture * (1 - rng.uniform(0, 0.5) * corners / corners.max())
    return _pixels(rng, picture), (distance < 0).astype(np.uint8)


# ----------------------------------------------------------------------------------------------------------- data sets


@dataclass(frozen=True)
class Spec:
    """One generated data set: how many pictures, of what, with which classes, and the function that draws one."""

    key: int  # what the seed holds in place of the name
    count: int
    strata: Sequence[str]  # drawn in turn
    schemes: Mapping[str, Sequence[str]]
    values: Mapping[str, Sequence[int]]  # per scheme, the mask value of each drawn label
    draw: Callable[[Random, str], tuple[Pixels, Pixels]]


GENERATED: Mapping[str, Spec] = {
    "generated_pets": Spec(
        key=1,
        count=600,
        strata=tuple(_SPECIES),
        schemes={"foreground": ("background", "pet"), "trimap": ("pet", "background", "boundary")},
        values={"foreground": (1, 0, 1), "trimap": (0, 1, 2)},
        draw=_draw_pet,
    ),
    "generated_near": Spec(
        key=2,
        count=480,
        strata=tuple(_NEAR),
        schemes={"figure": ("background", "figure")},
        values={"figure": (0, 1)},
        draw=_draw_near,
    ),
    "generated_middle": Spec(
        key=3,
        count=480,
        strata=tuple(_MIDDLE),
        schemes={"objects": ("background", *_MIDDLE)},
        values={"objects": (0, 1, 2, 3)},
        draw=_draw_middle,
    ),
    "generated_far": Spec(
        key=4,
        count=480,
        strata=tuple(_RAGGED),
        schemes={"lesion": ("background", "lesion")},
        values={"lesion": (0, 1)},
        draw=_draw_far,
    ),
}


@dataclass(frozen=True)
class Generated:
    """A drawn data set as a `DataSet`; it depends on no files. Raises `UserError` for a name not in `GENERATED`."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in GENERATED:
            raise unknown("data set", self.name, list(GENERATED))

    @property
    def schemes(self) -> Mapping[str, Sequence[str]]:
        """The names of the classes in the order of their mask values, per scheme; the first scheme is the default."""
        return GENERATED[self.name].schemes

    @property
    def fit(self) -> Literal["resize", "crop"]:
        """Pictures are square already."""
        return "resize"

    @property
    def pool(self) -> Sequence[str]:
        """There is one split, which a protocol in per cent divides."""
        return ("train",)

    def examples(self) -> list[Example]:
        """Return every example, `pets_00012` for instance; the stratum is what the picture shows."""
        spec = GENERATED[self.name]
        strata = (spec.strata[index % len(spec.strata)] for index in range(spec.count))
        return [Example(self._example_name(index), stratum=stratum) for index, stratum in enumerate(strata)]

    def files(self) -> list[Path]:
        """Return nothing: the pictures depend on no files."""
        return []

    def revision(self) -> str:
        """Return a text that changes with the pictures."""
        return f"generated {self.name} {VERSION} {GENERATED[self.name].count}"

    def read(self, example: Example, scheme: str) -> tuple[Pixels, Pixels]:
        """Draw the picture (96, 96, 3) and its mask (96, 96), both uint8.

        Raises `UserError` for an unknown scheme and for an example that is not of this data set.
        """
        spec = GENERATED[self.name]
        if scheme not in spec.schemes:
            raise unknown("scheme", scheme, list(spec.schemes))
        index = self._index(example)
        rng = np.random.Generator(np.random.PCG64([VERSION, spec.key, index]))
        picture, labels = spec.draw(rng, spec.strata[index % len(spec.strata)])
        return picture, np.array(spec.values[scheme], np.uint8)[labels]

    def _index(self, example: Example) -> int:
        digits = example.name.rpartition("_")[2]
        index, count = int(digits) if digits.isdecimal() else -1, GENERATED[self.name].count
        if index not in range(count) or example.name != self._example_name(index):
            known = (self._example_name(0), "...", self._example_name(count - 1))
            raise unknown(f"example of {self.name}", example.name, known)
        return index

    def _example_name(self, index: int) -> str:
        return f"{self.name.removeprefix('generated_')}_{index:05d}"
