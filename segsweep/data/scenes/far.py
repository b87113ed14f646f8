"""The far source: dark blobs on skin, like dermoscopy images."""

import numpy as np

from segsweep.data.dataset import Pixels
from segsweep.data.scenes import surfaces
from segsweep.data.scenes.canvas import SIZE_PX, Random, X, Y
from segsweep.data.scenes.painting import paint, pixels
from segsweep.data.scenes.shapes import placed

RAGGED = {"naevus": 3.0, "keratosis": 8.0, "melanoma": 12.0}  # largest deviation of the outline, in pixels
_SKIN, _DARK = np.array([[[0.86]], [[0.66]], [[0.56]]]), np.array([[[0.42]], [[0.27]], [[0.2]]])


def draw(rng: Random, stratum: str) -> tuple[Pixels, Pixels]:
    """Draw a dark, soft blob on skin under hairs: image (96, 96, 3) and labels (96, 96), uint8; 0 background, 1 lesion."""
    skin = _SKIN * rng.uniform(0.75, 1.1) + rng.uniform(-0.04, 0.04, (3, 1, 1))
    image = skin + 0.10 * (surfaces.clouds(rng, 25) - 0.5) + 0.03 * surfaces.blotches(rng)
    shape = placed(rng, 40, 60, np.pi)
    shape.oval(0, 0, rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.45))
    distance = shape.distance + 2 * RAGGED[stratum] * (surfaces.clouds(rng, 13) - 0.5)
    dark = _DARK * rng.uniform(0.7, 1.3) + rng.uniform(-0.04, 0.04, (3, 1, 1))
    mottled = dark * (0.75 + 0.5 * surfaces.clouds(rng, 9))
    softness = rng.uniform(2.0, 5.0)
    image = image + (mottled - image) * np.clip(0.5 - distance / softness, 0, 1)
    for _ in range(rng.integers(0, 9)):
        along, across = surfaces.turned(rng.uniform(0, np.pi))
        curve = across - across[SIZE_PX // 2, SIZE_PX // 2] - rng.uniform(-45, 45)
        curve = curve + rng.uniform(-0.004, 0.004) * (along - along.mean()) ** 2
        image = paint(image, np.abs(curve) - 0.3, np.full((3, 1, 1), rng.uniform(0.08, 0.25)))
    corners = np.clip((X - SIZE_PX / 2) ** 2 + (Y - SIZE_PX / 2) ** 2 - (0.5 * SIZE_PX) ** 2, 0, None)
    image = image * (1 - rng.uniform(0, 0.5) * corners / corners.max())
    return pixels(rng, image), (distance < 0).astype(np.uint8)
