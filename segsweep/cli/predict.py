"""`segsweep predict`: a confirmed run of a study applied to a folder of pictures."""

import csv
import hashlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console

from segsweep.cli.export import best_trial, deployed, find_weights, named_trial
from segsweep.data.bit_depth import FULL, eight_bits, largest
from segsweep.data.dataset import Levels, Pixels, Progress
from segsweep.data.listing import PICTURE_ENDINGS, pictures_in
from segsweep.data.palette import palette_image
from segsweep.data.picture import open_image
from segsweep.errors import UserError, disk_errors
from segsweep.inference.tiling import Prediction, Predictor
from segsweep.records.reader import Records
from segsweep.report.new_folder import ELSEWHERE, make_new
from segsweep.report.overlay import background_of, legend, overlay
from segsweep.stage import WEIGHTS
from segsweep.store.folder import Artifact, Store
from segsweep.training.device import Device

LEGEND_PX = 160  # the least width of an overlay, so that its legend can be read
LONGEST_STEM = 120  # characters of a picture's name that its files keep


@dataclass(frozen=True)
class Predictions:
    """What was predicted: `pictures` has a row per picture, with its files and shares, `failed` what cannot be read and why."""

    folder: Path
    trial: pd.Series
    pictures: list[dict[str, Any]]
    failed: list[dict[str, str]]


def predict_folder(
    records: Records,
    store: Store,
    images: Path,
    folder: Path,
    *,
    device: Device,
    trial: str | None = None,
    probabilities: bool = False,
    console: Console,
    progress: Progress,
) -> Predictions:
    """Apply a study's best confirmed run, or the one whose id begins as `trial`, to the pictures of a folder.

    Written are `masks/` (palette PNG of class numbers) and `overlays/`, with `probabilities` also `probabilities/` (255 for
    1), `shares.csv` (each class's share of the pixels) and `predictions.json`. A picture that cannot be read is told on the
    console, and the others are done. Raises `UserError` for what makes that impossible.
    """
    paths = _pictures(images)
    chosen = best_trial(records) if trial is None else named_trial(records, trial)
    artifact = find_weights(chosen, store)
    predictor = _predictor(artifact, device)
    make_new("--out", folder)
    output = _Output(folder, artifact.metadata["classes"], paths, probabilities)
    result, bits = Predictions(folder, chosen, [], []), artifact.metadata.get("bits")
    deep: dict[Path, int] = {}  # 16-bit images, by their largest values
    for done, path in enumerate(paths, 1):
        try:
            levels = _read(path)
        except UserError as error:
            result.failed.append({"picture": path.name, "error": str(error)})
            console.print(f"error: {error}", soft_wrap=True)
        else:
            deep |= {path: value} if (value := largest(levels)) else {}
            picture = eight_bits(levels, bits or FULL)
            predicted = predictor.predict(picture, probabilities)
            with disk_errors("--out", folder, ELSEWHERE):
                result.pictures.append(output.write(path, picture, predicted))
        progress("predicting", done, len(paths))
    for line in _range_remarks(deep, bits):
        console.print(line, soft_wrap=True)
    with disk_errors("--out", folder, ELSEWHERE):
        _write_tables(result, records, artifact, images)
    return result


def _pictures(images: Path) -> list[Path]:
    if not images.is_dir():
        raise UserError(f"--images {images}: is no folder")
    if not (paths := pictures_in(images)):
        raise UserError(f"--images {images}: holds no pictures ({', '.join(PICTURE_ENDINGS)}); folders below it are not read")
    return paths


def _predictor(artifact: Artifact, device: Device) -> Predictor:
    settings = artifact.metadata["settings"]
    fit = artifact.metadata.get("fit", "resize")
    return Predictor(deployed(artifact), image_px=settings["image_px"], fit=fit, device=device, precision=settings["precision"])


def _range_remarks(deep: Mapping[Path, int], bits: int | None) -> Iterator[str]:
    """Yield what is said of 16-bit images, by their largest values, for a model whose 16-bit images had a range of `bits`."""
    if deep and bits is None:
        yield f"{len(deep)} images have 16 bits, of which the model has seen none: their white is taken to be {2**FULL - 1}"
    if beyond := [path.name for path, value in deep.items() if value >= 2 ** (bits or FULL)]:
        yield (
            f"{len(beyond)} images have values above {2 ** (bits or FULL) - 1}, which is white in the 16-bit images that the "
            f"model was trained on, and are cut there: {beyond[0]}{', ...' if len(beyond) > 1 else ''}"
        )


def _read(path: Path) -> Levels:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of large images and odd metadata, which are read all the same
            return open_image(path)
    except UserError:
        raise
    except Exception as error:  # damaged files raise whatever their reader stumbles over
        raise UserError(f"{path}: picture cannot be read: {error!r}") from None


class _Output:
    """The files of the predictions, by names that are each picture's alone."""

    def __init__(self, folder: Path, classes: Sequence[str], paths: Sequence[Path], probabilities: bool) -> None:
        self._folder, self._classes = folder, classes
        self._parts = _file_parts(classes)
        self._names = _names(paths, self._parts if probabilities else ())
        for kind in ("masks", "overlays", *(["probabilities"] if probabilities else [])):
            (folder / kind).mkdir()

    def write(self, path: Path, picture: Pixels, prediction: Prediction) -> dict[str, Any]:
        """Write what was predicted for a picture, and return the row that tells of it."""
        name, mask_HW = self._names[path], prediction.mask_HW
        files: dict[str, Any] = {"mask": f"masks/{name}.png", "overlay": f"overlays/{name}.png"}
        palette_image(mask_HW).save(self._folder / files["mask"])
        shares = np.bincount(mask_HW.ravel(), minlength=len(self._classes)) / mask_HW.size
        drawn = self._overlay(picture, mask_HW, np.flatnonzero(shares).tolist())
        drawn.save(self._folder / files["overlay"], compress_level=1)  # big, and looked at once
        if prediction.probabilities_CHW is not None:
            files["probabilities"] = {}
            for label, part, plane_HW in zip(self._classes, self._parts, prediction.probabilities_CHW, strict=True):
                files["probabilities"][label] = f"probabilities/{name}-{part}.png"
                Image.fromarray(plane_HW).save(self._folder / files["probabilities"][label])
        return {"picture": path.name, **files, "shares": dict(zip(self._classes, shares.tolist(), strict=True))}

    def _overlay(self, picture: Pixels, mask_HW: Pixels, present: Sequence[int]) -> Image.Image:
        """Return the mask over its picture, and below it the classes that occur and are not left clear."""
        clear = background_of(self._classes)
        height, width = mask_HW.shape
        key = legend(self._classes, [number for number in present if number != clear], max(width, LEGEND_PX))
        whole = Image.new("RGB", (key.width, height + key.height), "white")
        whole.paste(Image.fromarray(overlay(picture, mask_HW, clear=clear)))
        whole.paste(key, (0, height))
        return whole


def _file_parts(classes: Sequence[str]) -> list[str]:
    """Return the classes' names as parts of file names, with their numbers where they would else not be told apart."""
    parts = [re.sub(r"[^\w .()-]", "_", name) for name in classes]
    return parts if len({part.lower() for part in parts}) == len(parts) else [f"{n}-{part}" for n, part in enumerate(parts)]


def _names(paths: Sequence[Path], parts: Sequence[str]) -> Mapping[Path, str]:
    """Return what the files of each image are called: its name without ending, or with it where two files would else be one.

    Case is no difference, as on many disks. A name that is too long for the files of its classes is cut, and numbered.
    """
    names = {path: path.stem for path in paths}
    while clashing := [path for path in _clashing(names, parts) if names[path] != path.name]:
        names |= {path: path.name for path in clashing}
    return {
        path: name if len(name) <= LONGEST_STEM else f"{name[:LONGEST_STEM]}-{number}"
        for number, (path, name) in enumerate(names.items())
    }


def _clashing(names: Mapping[Path, str], parts: Sequence[str]) -> list[Path]:
    """Return the images of which some file has the name of another image's."""
    ends = ("", *(f"-{part}" for part in parts))
    files = {path: {f"{name}{end}".casefold() for end in ends} for path, name in names.items()}
    counted = Counter(file for each in files.values() for file in each)
    return [path for path, each in files.items() if any(counted[file] > 1 for file in each)]


def _write_tables(result: Predictions, records: Records, artifact: Artifact, images: Path) -> None:
    told = artifact.metadata
    with (result.folder / "shares.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(["picture", *told["classes"]])
        rows.writerows([row["picture"], *(f"{share:.6f}" for share in row["shares"].values())] for row in result.pictures)
    with (artifact.folder / WEIGHTS).open("rb") as weights:
        checksum = hashlib.file_digest(weights, "sha256").hexdigest()
    card = {
        "study": records.study["name"],
        "trial_id": str(result.trial["trial_id"]),
        "cell": str(result.trial["cell"]),
        "classes": list(told["classes"]),
        "source": told["settings"]["source"],
        "weights_sha256": checksum,
        "images": str(images.absolute()),
        "pictures": result.pictures,
        "failed": result.failed,
    }
    (result.folder / "predictions.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
