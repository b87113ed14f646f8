"""Streets of two countries: a source with the classes of Cityscapes, and a target with other signs and other light.

A street runs to a vanishing point between two rows of houses. The scene is metric: the size of an object follows from the
distance of the ground at its foot, as a camera at the height `CAMERA_M` sees it.

`generated_city` is a bright country with red-rimmed signs, `generated_street` a country at dusk with blue and green signs. Cars
are the same in both. A network that is trained on the first finds the cars of the second, but not its signs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segsweep.data.dataset import Pixels
from segsweep.data.scenes import surfaces, traffic
from segsweep.data.scenes.canvas import SIZE_PX, Field, Random, X, Y
from segsweep.data.scenes.painting import Scene, pixels
from segsweep.data.scenes.shapes import Shape
from segsweep.data.scenes.traffic import Colour, Palette, flat, some

CLASSES = ("road", "building", "sky", "vegetation", "person", "car", "bus", "traffic sign")
ROAD, BUILDING, SKY, VEGETATION, PERSON, CAR, BUS, SIGN = range(len(CLASSES))

CAMERA_M = 2.2  # above the ground
FOCAL_PX = 80.0
KERB_M, WALL_M = 3.4, 6.0  # distance from the middle of the road
STOREY_M, WINDOW_M = 3.0, 2.6
VEHICLES_PX = ((10, 13), (15, 19), (23, 28), (34, 43))  # distance below the horizon; each vehicle has another depth
FEET_PX = {"person": (11.0, 30.0), "sign": (16.0, 26.0), "tree": (10.0, 24.0)}
CROSSING_PX = {"car": 30.0, "bus": 16.0}  # largest distance below the horizon of a vehicle that crosses the street
MARGIN_PX = 7.0  # smallest distance of objects on the pavement from the image's edge

ASPHALT: Colour = (0.36, 0.36, 0.38)
PAVING: Colour = (0.58, 0.56, 0.53)
LAMPLIGHT: Colour = (0.98, 0.85, 0.50)


@dataclass(frozen=True)
class Country:
    """The appearance of one country's streets."""

    signs: Callable[[Random, Scene, Shape, int], None]
    sky: tuple[Colour, Colour]  # above, and at the horizon
    walls: Palette
    leaves: Palette
    lit: float  # share of lit windows
    light: Colour  # factor of every colour
    contrast: float
    grain: float
    numbers: Mapping[str, Mapping[str, Sequence[int]]]  # per stratum, possible numbers of each object; some may be hidden


CITY = Country(
    signs=traffic.rimmed_sign,
    sky=((0.42, 0.60, 0.86), (0.80, 0.87, 0.93)),
    walls=((0.78, 0.70, 0.56), (0.72, 0.52, 0.42), (0.66, 0.66, 0.64), (0.82, 0.78, 0.70), (0.58, 0.50, 0.46)),
    leaves=((0.24, 0.44, 0.18), (0.34, 0.50, 0.20)),
    lit=0.0,
    light=(1.0, 1.0, 1.0),
    contrast=1.0,
    grain=0.0,
    numbers={
        "traffic sign": {"car": (1, 2, 3), "bus": (0, 0, 1), "person": (0, 1, 2), "sign": (1, 2), "tree": (0, 1, 2)},
        "bus": {"car": (1, 2), "bus": (1,), "person": (0, 1, 2), "sign": (0, 1, 1), "tree": (0, 1, 2)},
        "person": {"car": (1, 2, 3), "bus": (0, 0, 1), "person": (1, 2, 3), "sign": (0, 1, 1), "tree": (0, 1, 2)},
    },
)
STREET = Country(
    signs=traffic.board_sign,
    sky=((0.46, 0.48, 0.66), (0.95, 0.72, 0.50)),
    walls=((0.62, 0.34, 0.26), (0.56, 0.42, 0.34), (0.70, 0.58, 0.46), (0.48, 0.44, 0.46)),
    leaves=((0.40, 0.36, 0.14), (0.52, 0.34, 0.14)),
    lit=0.3,
    light=(0.94, 0.82, 0.68),
    contrast=0.85,
    grain=0.06,
    numbers={
        "car and sign": {"car": (2, 3, 3), "bus": (0, 0, 1), "person": (0, 1, 2), "sign": (1, 1, 2), "tree": (0, 1, 2)},
        "car": {"car": (2, 3), "bus": (0, 0, 1), "person": (0, 1, 2), "sign": (0,), "tree": (0, 1, 2)},
        "sign": {"car": (0,), "bus": (0, 1), "person": (0, 1, 2), "sign": (1, 2), "tree": (1, 2)},
    },
)


@dataclass(frozen=True)
class _View:
    """The vanishing point of the street, in pixels."""

    x: float
    horizon: float

    def place(self, below_px: float, lateral_m: float, flip: bool = False) -> Shape:
        """Return an empty shape, in metres, on the ground `below_px` below the horizon and `lateral_m` right of the middle."""
        scale = below_px / CAMERA_M
        return Shape((self.x + lateral_m * scale, self.horizon + below_px), scale, flip=flip)


def _sky(rng: Random, scene: Scene, view: _View, country: Country) -> None:
    above, low = map(flat, country.sky)
    clouds = np.clip(2 * surfaces.clouds(rng, 20) - 0.9, 0, 1)
    sky = above + (low - above) * np.clip(Y / view.horizon, 0, 1)
    scene.lay(np.full_like(Y, -1.0), sky + 0.6 * (low - sky) * clouds, SKY)


def _ground(rng: Random, scene: Scene, view: _View, rough: Field) -> None:
    """Paint road and pavement, which are one class, and the broken line in the middle."""
    below = np.maximum(Y - view.horizon, 0.5)
    lateral, ahead = (X - view.x) * CAMERA_M / below, FOCAL_PX * CAMERA_M / below
    shade = rng.uniform(0.8, 1.2) + 0.04 * rough
    scene.lay(view.horizon - Y, flat(PAVING) * shade, ROAD)
    kerb = (np.abs(lateral) - KERB_M) * below / CAMERA_M
    scene.lay(np.maximum(kerb, view.horizon - Y), flat(ASPHALT) * shade, ROAD)
    dashes = np.where((ahead + rng.uniform(0, 6)) % 6 < 3, (np.abs(lateral) - 0.1) * below / CAMERA_M, 1.0)
    scene.lay(np.maximum(dashes, view.horizon + 2 - Y), flat(traffic.WHITE), ROAD)


def _far_end(rng: Random, scene: Scene, view: _View, country: Country) -> None:
    """Paint trees or houses at the far end of the street."""
    ridge = view.horizon - rng.uniform(3, 10) - 5 * surfaces.clouds(rng, 12)[:1]
    green = rng.random() < 0.5
    colour = some(rng, country.leaves if green else country.walls) * 0.8 + 0.2 * flat(country.sky[1])
    scene.lay(np.maximum(ridge - Y, Y - view.horizon - 1), colour, VEGETATION if green else BUILDING)


def _facade(rng: Random, country: Country, rough: Field, along_m: Field, height_m: Field) -> Field:
    """Return a wall (3, H, W) with rows of windows, and perhaps a shop sign, for positions (H, W) on the wall in metres."""
    wall = some(rng, country.walls) * (1 + 0.04 * rough)
    row, column = np.floor(height_m / STOREY_M).astype(np.int64), np.floor(along_m / WINDOW_M).astype(np.int64)
    across, up = along_m / WINDOW_M - column, height_m / STOREY_M - row
    lights = rng.random((16, 16))[row % 16, column % 16] < country.lit
    pane = np.where(lights, flat(LAMPLIGHT), flat(traffic.GLASS) * rng.uniform(0.8, 1.3))
    wall = np.where((np.abs(across - 0.5) < 0.27) & (np.abs(up - 0.5) < 0.25), pane, wall)
    board = (height_m > 2.5) & (height_m < 3.2)
    return np.where(board, some(rng, traffic.PAINTS), wall) if rng.random() < 0.4 else wall


def _houses(rng: Random, scene: Scene, view: _View, country: Country, rough: Field, side: int) -> None:
    """Paint the row of houses and hedges on one side (-1 or 1), from far to near."""
    away = np.maximum((X - view.x) * side, 0.5)  # pixels from the vanishing point
    metre = away / WALL_M  # in pixels, on the wall
    along_m, height_m = FOCAL_PX / metre, (view.horizon - Y) / metre + CAMERA_M
    ends = [6.0, rng.uniform(12, 18), rng.uniform(24, 34), float(2 * SIZE_PX)]
    for near_end, far_end in zip(ends[1:], ends[:-1], strict=True):
        hedge = rng.random() < 0.2
        if hedge:
            top, surface = rng.uniform(2.2, 4.0) + 0.25 * rough, some(rng, country.leaves) * (1 + 0.15 * rough)
        else:
            top, surface = np.full_like(Y, rng.uniform(5.0, 12.0)), _facade(rng, country, rough, along_m, height_m)
        upright = np.maximum(height_m - top, -height_m) * metre
        distance = np.maximum(upright, np.maximum(far_end - away, away - near_end))
        scene.lay(distance, surface, VEGETATION if hedge else BUILDING)


def _cast(rng: Random, numbers: Mapping[str, Sequence[int]]) -> list[tuple[float, str, int]]:
    """Return the objects in the street from far to near: distance below the horizon in pixels, kind, and side (-1 or 1)."""
    count = {name: int(rng.choice(choices)) for name, choices in numbers.items()}
    *far, near = VEHICLES_PX
    first, *others = rng.permutation(far)
    depths = [first, *rng.permutation([*others, near])]  # a bus has the first depth, which is never the nearest
    feet = {"bus": depths[: count["bus"]], "car": depths[count["bus"] :][: count["car"]]}
    feet |= {name: [np.array(foot)] * count[name] for name, foot in FEET_PX.items()}
    cast = []
    for name, several in feet.items():
        side = 1 if rng.random() < 0.5 else -1
        cast += [(float(rng.uniform(*foot)), name, side * (-1) ** n) for n, foot in enumerate(several)]
    return sorted(cast)


def _lateral_m(rng: Random, view: _View, below_px: float, side: int) -> float:
    """Return the distance in metres from the middle of the road to an object on the pavement, inside the image."""
    metre = below_px / CAMERA_M
    lateral = side * rng.uniform(KERB_M + 0.3, WALL_M - 1.0)
    return float(np.clip(lateral, (MARGIN_PX - view.x) / metre, (SIZE_PX - MARGIN_PX - view.x) / metre))


def _put(rng: Random, scene: Scene, view: _View, country: Country, below_px: float, name: str, side: int) -> None:
    """Paint one object of the cast: vehicles on a lane or across the road, others on the pavement."""
    flip = bool(rng.random() < 0.5)
    if name in CROSSING_PX:
        crossing = below_px < CROSSING_PX[name] and bool(rng.random() < 0.5)
        lateral = rng.uniform(-3, 3) if crossing else side * rng.uniform(1.4, 1.9)
        at = view.place(below_px, lateral, flip)
        if name == "car":
            traffic.car(rng, scene, at, CAR, crossing)
        else:
            traffic.bus(rng, scene, at, BUS, crossing)
        return
    at = view.place(below_px, _lateral_m(rng, view, below_px, side), flip)
    if name == "person":
        traffic.person(rng, scene, at, PERSON)
    elif name == "tree":
        traffic.tree(rng, scene, at, VEGETATION, country.leaves)
    else:
        country.signs(rng, scene, at, SIGN)


def draw(country: Country, rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw a street of a country: image (96, 96, 3) and labels (96, 96), uint8; labels are the numbers of `CLASSES`."""
    scene, view = Scene(), _View(rng.uniform(0.36, 0.64) * SIZE_PX, rng.uniform(0.42, 0.52) * SIZE_PX)
    rough = surfaces.blotches(rng)
    _sky(rng, scene, view, country)
    _ground(rng, scene, view, rough)
    _far_end(rng, scene, view, country)
    for side in (-1, 1):
        _houses(rng, scene, view, country, rough, side)
    for below_px, name, side in _cast(rng, country.numbers[stratum]):
        _put(rng, scene, view, country, below_px, name, side)
    image = 0.5 + country.contrast * (scene.image * flat(country.light) - 0.5)
    image = image + country.grain * (rng.random(image.shape) - 0.5)
    return pixels(rng, image), scene.labels
