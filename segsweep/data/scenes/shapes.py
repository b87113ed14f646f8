"""Figures as unions of simple parts, represented by the signed distance to their outline."""

import numpy as np

from segsweep.data.scenes.canvas import SIZE_PX, Field, Random, X, Y


class Shape:
    """A union of simple parts. `distance` (H, W) is the signed distance to its outline in pixels, negative inside.

    Coordinates of parts are in units of the shape's size, relative to its centre, with x towards the front and y down.
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
        """Add a rounded limb; `wide` and `narrow` are half its width at the start and at the end."""
        (ax, ay), (bx, by) = self._place(*start), self._place(*end)
        dx, dy = bx - ax, by - ay
        share = np.clip(((X - ax) * dx + (Y - ay) * dy) / (dx * dx + dy * dy + 1e-6), 0, 1)
        reach = np.sqrt((X - ax - share * dx) ** 2 + (Y - ay - share * dy) ** 2)
        self._join(reach - self._size * (wide + (narrow - wide) * share))

    def oval(self, x: float, y: float, half_x: float, half_y: float, turn: float = 0.0) -> None:
        """Add an ellipse, rotated by `turn` radians, from the front towards the ground."""
        (cx, cy), (ax, ay) = self._place(x, y), self._place(x + np.cos(turn), y + np.sin(turn))
        dx, dy = (ax - cx) / self._size, (ay - cy) / self._size
        along = ((X - cx) * dx + (Y - cy) * dy) / half_x
        across = ((Y - cy) * dx - (X - cx) * dy) / half_y
        self._join((np.sqrt(along**2 + across**2) / self._size - 1) * self._size * min(half_x, half_y))

    def patch(self, *corners: tuple[float, float]) -> None:
        """Add a convex polygon."""
        points = [self._place(*corner) for corner in corners]
        area = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, points[1:] + points[:1], strict=True))
        distance: Field = np.full_like(self.distance, -1e3)
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
            dx, dy = bx - ax, by - ay
            scale = (1.0 if area > 0 else -1.0) / (float(np.hypot(dx, dy)) + 1e-6)
            np.maximum(distance, ((X - ax) * dy - (Y - ay) * dx) * scale, out=distance)
        self._join(distance)

    def like(self) -> "Shape":
        """Return an empty shape with the same coordinates, for eyes and wheels."""
        other = Shape(self._centre, self._size)
        other._flip, other._cos, other._sin = self._flip, self._cos, self._sin
        return other


def placed(rng: Random, low_px: float, high_px: float, tilt: float) -> Shape:
    """Return an empty shape at a random place near the centre, of a size in low_px..high_px, tilted by up to `tilt` radians."""
    centre = (rng.uniform(0.33, 0.67) * SIZE_PX, rng.uniform(0.36, 0.64) * SIZE_PX)
    return Shape(centre, rng.uniform(low_px, high_px), rng.uniform(-tilt, tilt), bool(rng.random() < 0.5))
