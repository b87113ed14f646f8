"""Prediction of a study's confirmed run on a folder of images."""

import csv
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.data.bit_depth import FULL, eight_bits, largest
from segsweep.data.dataset import Levels, Progress
from segsweep.data.image_files import open_levels
from segsweep.data.listing import IMAGE_SUFFIXES, image_files_in
from segsweep.errors import UserError, disk_errors
from segsweep.inference.confirmed_run import best_trial, find_weights, named_trial, store_of
from segsweep.inference.deployed import deployed
from segsweep.inference.prediction_files import PredictionFiles
from segsweep.inference.tiling import Predictor
from segsweep.records.study_records import Records
from segsweep.report.new_folder import ELSEWHERE, make_new
from segsweep.store.contents import WEIGHTS_FILE
from segsweep.store.protocol import Artifact, silent
from segsweep.training.device import Device, choose_device


@dataclass(frozen=True)
class Predictions:
    """Predictions of one run.

    Attributes:
        folder: Folder with the written files.
        trial: Record of the run.
        images: One row per image, with the names of its files and the share of each class.
        failed: One row per unreadable image, with the error.
    """

    folder: Path
    trial: pd.Series
    images: list[dict[str, Any]]
    failed: list[dict[str, str]]


def predict(
    records: Records,
    images: str | Path,
    folder: str | Path,
    *,
    trial: str | None = None,
    probabilities: bool = False,
    store: str | Path | None = None,
    device: str = "auto",
    log: Callable[[str], None] = print,
    progress: Progress = silent,
) -> Predictions:
    """Apply a study's best confirmed run to the images of a folder.

    Writes `masks/` (palette PNG of class numbers), `overlays/`, with `probabilities` also `probabilities/` (8-bit PNG, 255 for
    1), `shares.csv` (each class's share of the pixels) and `predictions.json`. Masks have the sizes of their images.

    Args:
        records: Records of the study.
        images: Folder of images; its subfolders are not read.
        folder: Where to write; a new or empty folder.
        trial: Beginning of the id of another confirmed run to apply.
        probabilities: Whether to write the probabilities of all classes.
        store: Folder of the store; by default the one that the study used.
        device: `auto`, `cpu` or `cuda:N`.
        log: Receives a line for each unreadable image, which is skipped.
        progress: Called after each image.

    Raises:
        UserError: there is no such run, its model is missing, or the images or the output folder are unusable.
    """
    images, folder, used = Path(images), Path(folder), choose_device(device)
    artifacts = store_of(records, store)
    paths = _images_in(images)
    chosen = best_trial(records) if trial is None else named_trial(records, trial)
    artifact = find_weights(chosen, artifacts)
    predictor = _predictor(artifact, used)
    make_new("--out", folder)
    result = Predictions(folder, chosen, [], [])
    _predict_each(paths, predictor, result, artifact, probabilities, log, progress)
    with disk_errors("--out", folder, ELSEWHERE):
        _write_tables(result, records, artifact, images)
    return result


def _predict_each(
    paths: Sequence[Path],
    predictor: Predictor,
    result: Predictions,
    artifact: Artifact,
    probabilities: bool,
    log: Callable[[str], None],
    progress: Progress,
) -> None:
    """Predict each image, write its files, and append its row to `result`."""
    files = PredictionFiles(result.folder, artifact.metadata["classes"], paths, probabilities)
    bits = artifact.metadata.get("bits")
    deep: dict[Path, int] = {}  # largest values of 16-bit images
    for done, path in enumerate(paths, 1):
        try:
            levels = _read(path)
        except UserError as error:
            result.failed.append({"image": path.name, "error": str(error)})
            log(f"error: {error}")
        else:
            deep |= {path: value} if (value := largest(levels)) else {}
            image = eight_bits(levels, bits or FULL)
            predicted = predictor.predict(image, probabilities)
            with disk_errors("--out", result.folder, ELSEWHERE):
                result.images.append(files.write(path, image, predicted))
        progress("predicting", done, len(paths))
    for line in _range_remarks(deep, bits):
        log(line)


def _images_in(images: Path) -> list[Path]:
    if not images.is_dir():
        raise UserError(f"--images {images}: is not a folder")
    if not (paths := image_files_in(images)):
        raise UserError(f"--images {images}: contains no images ({', '.join(IMAGE_SUFFIXES)}); subfolders are not read")
    return paths


def _predictor(artifact: Artifact, device: Device) -> Predictor:
    settings = artifact.metadata["settings"]
    fit = artifact.metadata.get("fit", "resize")
    return Predictor(deployed(artifact), image_px=settings["image_px"], fit=fit, device=device, precision=settings["precision"])


def _range_remarks(deep: Mapping[Path, int], bits: int | None) -> Iterator[str]:
    """Yield remarks on 16-bit images, given their largest values, for a model whose 16-bit training images had `bits` bits."""
    if deep and bits is None:
        yield f"{len(deep)} images have 16 bits, but the model was trained on 8-bit images: {2**FULL - 1} is assumed to be white"
    if beyond := [path.name for path, value in deep.items() if value >= 2 ** (bits or FULL)]:
        yield (
            f"{len(beyond)} images have values above {2 ** (bits or FULL) - 1}, the white of the 16-bit images that the model "
            f"was trained on, and are clipped there: {beyond[0]}{', ...' if len(beyond) > 1 else ''}"
        )


def _read(path: Path) -> Levels:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # warnings of large images and odd metadata
            return open_levels(path)
    except UserError:
        raise
    except Exception as error:  # decoders raise many types for damaged files
        raise UserError(f"{path}: image cannot be read: {error!r}") from None


def _write_tables(result: Predictions, records: Records, artifact: Artifact, images: Path) -> None:
    model = artifact.metadata
    with (result.folder / "shares.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(["image", *model["classes"]])
        rows.writerows([row["image"], *(f"{share:.6f}" for share in row["shares"].values())] for row in result.images)
    with (artifact.folder / WEIGHTS_FILE).open("rb") as weights:
        checksum = hashlib.file_digest(weights, "sha256").hexdigest()
    card = {
        "study": records.study["name"],
        "trial_id": str(result.trial["trial_id"]),
        "cell": str(result.trial["cell"]),
        "classes": list(model["classes"]),
        "source": model["settings"]["source"],
        "weights_sha256": checksum,
        "folder": str(images.absolute()),
        "images": result.images,
        "failed": result.failed,
    }
    (result.folder / "predictions.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
