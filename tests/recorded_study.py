"""Records of drawn studies with all that a page shows: tuning trials, epochs, scores per image, confusions, costs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from drawn_study import Drawn, assembled

from segsweep.records import Records
from segsweep.records.tables import frame

CLASSES = ("background", "figure")
PER_CELL, FINISHED, EPOCHS, STOP = 4, 2, 6, 2  # tuning trials of a cell, those that finish, and the epochs of both kinds
OF_ALL = {"study": "s", "planned": True, "device": "NVIDIA H100", "seconds": 360.0, "image_px": 48, "test_size": "image_px"}


def recorded(drawn: Drawn) -> Records:
    """Return the records of a drawn study, as if all its runs had taken six minutes and every cell had been tuned."""
    records = drawn.records()
    confirmed = [_confirmed(row, drawn) for row in records.trials.to_dict("records")]
    tuned = [_tuned(cell, settings, number) for cell, settings in drawn.cells().items() for number in range(PER_CELL)]
    finished = [row for row in confirmed if row["status"] == "finished"]
    tables = {
        "trials": frame("trials", [*tuned, *confirmed]),
        "epochs": frame("epochs", [epoch for row in (*tuned, *finished) for epoch in _epochs(row)]),
        "images": frame("images", [row for run in finished for row in _images(run, drawn.iou())]),
        "confusions": frame("confusions", [row for run in finished for row in _confusions(run)]),
        "counts": records.counts,
        "stages": records.stages,
        "scores": frame("scores", _scores(drawn)),
    }
    study = {**records.study, "tune": {"learning_rate": "LogUniform(low=0.0001, high=0.01)"}, "trials_per_cell": PER_CELL}
    choices = {cell: {"cell": cell, "chosen": f"{cell} tune 0", "at_edge": ["learning_rate"]} for cell in drawn.cells()}
    return replace(assembled(tables, study), choices=choices)


def with_statuses(records: Records, statuses: Mapping[str, str]) -> Records:
    """Return records in which some trials, by id, have other statuses; the trials have no results then."""
    trials = records.trials.copy()
    changed = trials["trial_id"].isin(list(statuses))
    trials.loc[changed, "status"] = trials.loc[changed, "trial_id"].map(statuses).astype("string")
    trials.loc[changed, ["val_iou", "test_iou"]] = np.nan
    return replace(records, trials=trials)


def _confirmed(row: Mapping[str, Any], drawn: Drawn) -> dict[str, Any]:
    images = round(1000 * float(row["fraction"])) if not pd.isna(row.get("fraction")) else 1000
    known = {name: value for name, value in row.items() if not pd.isna(value)}
    parameters = {"trainable_parameters": 2_000_000, "total_parameters": 8_000_000}
    return {**known, **OF_ALL, **parameters, "train_images": images, "test_images": drawn.images, "predict_seconds": 0.4}


def _tuned(cell: str, settings: Mapping[str, Any], number: int) -> dict[str, Any]:
    status = "finished" if number < FINISHED else "stopped"
    row = {"trial_id": f"{cell} tune {number}", "cell": cell, "phase": "tune", "status": status, "seed": 0, "keep": "val_iou"}
    return {
        **row,
        **settings,
        **OF_ALL,
        "learning_rate": 10.0 ** (number - 4),
        "point": number,
        "val_iou": 0.5,
        "chosen": number == 0,
    }


def _epochs(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    last = STOP if run["status"] == "stopped" else EPOCHS
    common = {"study": "s", "trial_id": run["trial_id"], "phase": run["phase"], "seconds": 60.0}
    return [
        {**common, "epoch": epoch, "steps": 10 * epoch, "train_loss": 1 / epoch, "val_loss": 1.2 / epoch, "val_iou": 0.1 * epoch}
        for epoch in range(1, last + 1)
    ]


def _images(run: Mapping[str, Any], iou: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    common = {"study": "s", "trial_id": run["trial_id"], "cell": run["cell"], "seed": run["seed"]}
    scores = iou[run["cell"]][int(run["seed"]) - 1].tolist()
    return [{**common, "image": f"{number:03d}", "iou": score, "dice": score} for number, score in enumerate(scores)]


def _confusions(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    common = {"study": "s", "trial_id": run["trial_id"], "cell": run["cell"], "seed": run["seed"]}
    return [
        {**common, "truth": truth, "predicted": predicted, "pixels": 900 if truth == predicted else 100}
        for truth in CLASSES
        for predicted in CLASSES
    ]


def _scores(drawn: Drawn) -> list[dict[str, Any]]:
    """Rows of one model per source, of which later ones score higher."""
    common = {"study": "s", "status": "finished", "subset": "largest", "architecture": "unet", "image_px": 48, "images": 20}
    return [
        {
            **common,
            "source": source,
            "logme": 0.1 * place - 1,
            "logme_se": 0.01,
            "kid": 1.0 - 0.1 * place,
            "source_images": 240 if place else None,
        }
        for place, source in enumerate(drawn.compare.get("source", ()))
    ]
