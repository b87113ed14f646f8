"""The application of a study's confirmed run to a folder of images."""

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
    """Predictions of one run: `images` has a row per image, with its files and shares, `failed` the unreadable ones and why."""

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
    """Apply a study's best confirmed run, or the one whose id starts with `trial`, to the images of a folder.

    Written into `folder`, new or empty, are `masks/` (palette PNG of class numbers) and `overlays/`, with `probabilities` also
    `probabilities/` (255 for 1), `shares.csv` (each class's share of the pixels) and `predictions.json`. `store` is the folder of
    artifacts, by default the one that the study used; `device` is `auto`, `cpu` or `cuda:N`. `log` gets a line for each image
    that cannot be read; the others are done. Raises `UserError` for what makes a prediction impossible.
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
    deep: dict[Path, int] = {}  # 16-bit images, by their largest values
    for done, path in enumerate(paths, 1):
        try:
            levels = _read(path)
        except UserError as error:
            result.failed.append({"picture": path.name, "error": str(error)})
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
        raise UserError(f"--images {images}: is no folder")
    if not (paths := image_files_in(images)):
        raise UserError(f"--images {images}: holds no pictures ({', '.join(IMAGE_SUFFIXES)}); folders below it are not read")
    return paths


def _predictor(artifact: Artifact, device: Device) -> Predictor:
    settings = artifact.metadata["settings"]
    fit = artifact.metadata.get("fit", "resize")
    return Predictor(deployed(artifact), image_px=settings["image_px"], fit=fit, device=device, precision=settings["precision"])


def _range_remarks(deep: Mapping[Path, int], bits: int | None) -> Iterator[str]:
    """Yield remarks on 16-bit images, given by their largest values, for a model whose 16-bit images had a range of `bits`."""
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
            warnings.filterwarnings("ignore", module="PIL")  # of large images and odd metadata, which are read nevertheless
            return open_levels(path)
    except UserError:
        raise
    except Exception as error:  # damaged files raise whatever their reader stumbles over
        raise UserError(f"{path}: picture cannot be read: {error!r}") from None


def _write_tables(result: Predictions, records: Records, artifact: Artifact, images: Path) -> None:
    model = artifact.metadata
    with (result.folder / "shares.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(["picture", *model["classes"]])
        rows.writerows([row["picture"], *(f"{share:.6f}" for share in row["shares"].values())] for row in result.images)
    with (artifact.folder / WEIGHTS_FILE).open("rb") as weights:
        checksum = hashlib.file_digest(weights, "sha256").hexdigest()
    card = {
        "study": records.study["name"],
        "trial_id": str(result.trial["trial_id"]),
        "cell": str(result.trial["cell"]),
        "classes": list(model["classes"]),
        "source": model["settings"]["source"],
        "weights_sha256": checksum,
        "images": str(images.absolute()),
        "pictures": result.images,
        "failed": result.failed,
    }
    (result.folder / "predictions.json").write_text(json.dumps(card, indent=1), encoding="utf-8")
