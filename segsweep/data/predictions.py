"""Predictions for a test split in one file: a zip of palette PNGs, `00000.png` and so on, and `names.json`."""

import json
from collections.abc import Collection, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from PIL import Image

from segsweep.data.dataset import Pixels

NAMES = "names.json"


def write_predictions(path: Path, names: Sequence[str], pngs: Sequence[bytes]) -> None:
    """Write the predictions for images, as PNGs in order, and the images' names. Equal contents have equal bytes."""
    with ZipFile(path, "w", ZIP_STORED) as file:
        file.writestr(ZipInfo(NAMES), json.dumps(list(names), ensure_ascii=False))
        for number, png in enumerate(pngs):
            file.writestr(ZipInfo(f"{number:05d}.png"), png)


def predicted_names(path: Path) -> list[str]:
    """Return the names of the images whose predictions a file has."""
    with ZipFile(path) as file:
        return [str(name) for name in json.loads(file.read(NAMES))]


def read_predictions(path: Path, wanted: Collection[str] | None = None) -> Iterator[tuple[str, Pixels]]:
    """Yield the name and the predicted class numbers, (H, W) uint8, of each image, or of those `wanted`."""
    names = predicted_names(path)
    with ZipFile(path) as file:
        for number in (number for number, name in enumerate(names) if wanted is None or name in wanted):
            name = names[number]
            yield name, np.asarray(Image.open(BytesIO(file.read(f"{number:05d}.png"))))
