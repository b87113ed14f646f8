import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segsweep.config import Study
from segsweep.records.lines import read_lines, read_study
from segsweep.records.schema import SCHEMA_VERSION
from segsweep.records.writer import RecordWriter


@pytest.fixture(scope="session")
def tiny_study(tiny_study: Study, boxes: Path) -> Study:
    """Two of the study's cells with one tuning trial each: 6 trials and one stage. The W&B client takes its time for each."""
    return replace(tiny_study, compare={"source": ["random", f"supervised:folder:{boxes}"]}, trials_per_cell=1)


@pytest.fixture(scope="session")
def finished(run_once: Callable[[str, Study], Path], tiny_study: Study) -> Path:
    """The folder in which this study was run once: `runs/tiny` and `store`. Read only; see `copy_of_finished`."""
    return run_once("finished-small", tiny_study)


def columns(identity: str, phase: str = "tune", **values: Any) -> dict[str, Any]:
    """The columns that a driver records at the start of a trial."""
    standard = {"study": "s", "trial_id": identity, "cell": f"cell of {identity}", "phase": phase, "seed": 1, "point": None}
    return {**standard, "learning_rate": 0.1, "source": "random", "target": "pets", **values}


def epoch(number: int, **values: Any) -> dict[str, Any]:
    return {"epoch": number, "steps": 5 * number, "val_iou": number / 10, "seconds": 2.0, **values}


def declare(writer: RecordWriter, **values: Any) -> None:
    writer.declare({"schema_version": SCHEMA_VERSION, "name": "s", **values})


def run_one(writer: RecordWriter, identity: str, epochs: int = 2, status: str = "finished", images: int = 0) -> None:
    """Write the record of one complete trial."""
    writer.start("trials", identity, columns(identity))
    writer.facts(identity, {"train_images": 9, "device": "cpu x1"})
    for number in range(1, epochs + 1):
        writer.epoch(identity, epoch(number))
    rows = [{"image": f"image {number}", "iou": 0.5, "dice": 0.6, "accuracy": 0.7} for number in range(images)]
    writer.end(identity, status, {"val_iou": 0.2}, {"images": rows})


@pytest.fixture(scope="session")
def write() -> Callable[..., None]:
    return run_one


@pytest.fixture(scope="session")
def begin() -> Callable[[Path], RecordWriter]:
    """Return a function that opens and declares a study; a writer outside a `with` block is left as by a killed driver."""

    def make(folder: Path) -> RecordWriter:
        writer = RecordWriter(folder).__enter__()
        declare(writer)
        return writer

    return make


def killed(writer: RecordWriter) -> None:
    """Release the writer's lock without any other step, as the operating system does for a dead process."""
    writer._release()


@pytest.fixture(scope="session")
def kill() -> Callable[[RecordWriter], None]:
    return killed


@pytest.fixture(scope="session")
def start_columns() -> Callable[..., dict[str, Any]]:
    return columns


@pytest.fixture(scope="session")
def epoch_row() -> Callable[..., dict[str, Any]]:
    return epoch


def without_checksums(folder: Path) -> None:
    """Convert records to a version without checksums: no index, and lines and declaration without them."""
    study = read_study(folder)
    (folder / "study.json").write_text(json.dumps(study, indent=1))
    (folder / "index.jsonl").unlink()
    for own in folder.glob("parts/*/part.json"):
        own.unlink()
    for lines in (*folder.glob("live/*.jsonl"), folder / "choices.jsonl"):
        lines.write_text("".join(json.dumps(row) + "\n" for row in read_lines(lines)))


@pytest.fixture(scope="session")
def as_earlier() -> Callable[[Path], None]:
    return without_checksums
