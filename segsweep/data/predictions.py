"""Predictions for a test split in one file: a zip of palette PNGs, `00000.png` and so on, and `names.json`."""

import json
from collections.abc import Iterator, Sequence
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


def read_predictions(path: Path) -> Iterator[tuple[str, Pixels]]:
    """Yield each image's name and its predicted class numbers, (H, W) uint8."""
    with ZipFile(path) as file:
        for number, name in enumerate(json.loads(file.read(NAMES))):
            yield name, np.asarray(Image.open(BytesIO(file.read(f"{number:05d}.png"))))
