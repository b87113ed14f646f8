"""The files of predictions: masks, overlays and probabilities, with a distinct name for each image."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segsweep.data.dataset import Pixels
from segsweep.data.palette import palette_image
from segsweep.inference.tiling import Prediction
from segsweep.report.overlay import background_of, legend, overlay

LEGEND_PX = 160  # least width of an overlay, for a readable legend
LONGEST_STEM = 120  # most characters of an image's name in the names of its files


class PredictionFiles:
    """Writer of masks, overlays and probabilities, with a distinct file name for each image."""

    def __init__(self, folder: Path, classes: Sequence[str], paths: Sequence[Path], probabilities: bool) -> None:
        self._folder, self._classes = folder, classes
        self._parts = _file_parts(classes)
        self._names = _names(paths, self._parts if probabilities else ())
        for kind in ("masks", "overlays", *(["probabilities"] if probabilities else [])):
            (folder / kind).mkdir()

    def write(self, path: Path, image: Pixels, prediction: Prediction) -> dict[str, Any]:
        """Write an image's prediction, and return its row: file names and the share of each class."""
        name, mask_HW = self._names[path], prediction.mask_HW
        files: dict[str, Any] = {"mask": f"masks/{name}.png", "overlay": f"overlays/{name}.png"}
        palette_image(mask_HW).save(self._folder / files["mask"])
        shares = np.bincount(mask_HW.ravel(), minlength=len(self._classes)) / mask_HW.size
        drawn = self._overlay(image, mask_HW, np.flatnonzero(shares).tolist())
        drawn.save(self._folder / files["overlay"], compress_level=1)  # large, and viewed about once
        if prediction.probabilities_CHW is not None:
            files["probabilities"] = {}
            for label, part, plane_HW in zip(self._classes, self._parts, prediction.probabilities_CHW, strict=True):
                files["probabilities"][label] = f"probabilities/{name}-{part}.png"
                Image.fromarray(plane_HW).save(self._folder / files["probabilities"][label])
        return {"image": path.name, **files, "shares": dict(zip(self._classes, shares.tolist(), strict=True))}

    def _overlay(self, image: Pixels, mask_HW: Pixels, present: Sequence[int]) -> Image.Image:
        """Return the mask drawn over its image, above a legend of the classes that occur; background stays transparent."""
        clear = background_of(self._classes)
        height, width = mask_HW.shape
        key = legend(self._classes, [number for number in present if number != clear], max(width, LEGEND_PX))
        page = Image.new("RGB", (key.width, height + key.height), "white")
        page.paste(Image.fromarray(overlay(image, mask_HW, clear=clear)))
        page.paste(key, (0, height))
        return page


def _file_parts(classes: Sequence[str]) -> list[str]:
    """Return the class names as parts of file names, with their numbers if two names would be equal."""
    parts = [re.sub(r"[^\w .()-]", "_", name) for name in classes]
    return parts if len({part.lower() for part in parts}) == len(parts) else [f"{n}-{part}" for n, part in enumerate(parts)]


def _names(paths: Sequence[Path], parts: Sequence[str]) -> Mapping[Path, str]:
    """Return the stem of each image's files: its name without suffix, or with it if two files would get the same name.

    Names that differ only in case count as equal, as on many disks. A long name is cut and numbered.
    """
    names = {path: path.stem for path in paths}
    while clashing := [path for path in _clashing(names, parts) if names[path] != path.name]:
        names |= {path: path.name for path in clashing}
    return {
        path: name if len(name) <= LONGEST_STEM else f"{name[:LONGEST_STEM]}-{number}"
        for number, (path, name) in enumerate(names.items())
    }


def _clashing(names: Mapping[Path, str], parts: Sequence[str]) -> list[Path]:
    """Return the images that would share a file name with another image."""
    ends = ("", *(f"-{part}" for part in parts))
    files = {path: {f"{name}{end}".casefold() for end in ends} for path, name in names.items()}
    counted = Counter(file for each in files.values() for file in each)
    return [path for path, each in files.items() if any(counted[file] > 1 for file in each)]
