"""`segsweep studies`: list the studies of a folder and their progress."""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from segsweep.cli.exits import INCOMPLETE
from segsweep.cli.status import PIPE_WIDTH
from segsweep.errors import UserError
from segsweep.records.damage import INDEX, STUDY
from segsweep.records.driver_status import STATUS
from segsweep.report.layout import lines_of, new_table, number
from segsweep.report.status import StudyStatus, read_status
from segsweep.report.status_text import clock

AT_ONCE = 8  # studies that are read in parallel: checking a driver on another machine can take seconds
DAMAGED = "damaged"


def list_studies(options: argparse.Namespace, console: Console) -> None:  # noqa: ARG001
    """Print one line per study of a folder. Exit with 1 if the records of a study cannot be read."""
    folder = Path(options.folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the folder that --out named for the studies (default: runs)")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(_status, _folders(folder)))
    print(json.dumps([_row(each) for each in found]) if options.json else "\n".join(_lines(found, folder)))
    if any(isinstance(each, UserError) for _, each in found):
        sys.exit(INCOMPLETE)


def _folders(folder: Path) -> list[Path]:
    """Return the study folders in a folder, by name; the folder itself if it is a study's folder."""
    names = (STUDY, INDEX, STATUS)
    if any((folder / name).is_file() for name in names):
        return [folder]
    return sorted({file.parent for name in names for file in folder.glob(f"*/{name}")})


def _status(folder: Path) -> tuple[Path, StudyStatus | UserError]:
    try:
        return folder, read_status(folder)
    except UserError as error:
        return folder, error


def _row(found: tuple[Path, StudyStatus | UserError]) -> dict[str, object]:
    """Return a study's status as plain values. If it cannot be read, its state is `damaged`, with the reason."""
    folder, status = found
    if isinstance(status, UserError):
        return {"study": folder.name, "folder": str(folder), "state": DAMAGED, "reason": str(status)}
    return {
        "study": status.study,
        "folder": status.folder,
        "state": status.state,
        "reason": status.driver.reason if status.driver is not None else None,
        "trials": asdict(status.trials),
        "cells": len(status.cells),
        "best_val_iou": status.best_val_iou,
        "last_change_at": status.last_change_at,
    }


def _lines(found: list[tuple[Path, StudyStatus | UserError]], folder: Path) -> list[str]:
    if not found:
        return [f"{folder}/ holds no study"]
    table = new_table()
    table.add_column("study", overflow="fold")
    for heading in ("state", "trials", "failed", "cells", "best val IoU", "last change"):
        table.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
    for path, status in found:
        if isinstance(status, UserError):
            table.add_row(path.name, DAMAGED)
            continue
        trials, best = status.trials, status.best_val_iou
        changed = "" if status.last_change_at is None else clock(status.last_change_at)
        counts = (f"{trials.done}/{trials.planned}", str(trials.failed or ""), str(len(status.cells) or ""))
        table.add_row(status.study, status.state, *counts, "" if best is None else number(best), changed)
    return [*lines_of(table, PIPE_WIDTH), *(f"{path.name}: {each}" for path, each in found if isinstance(each, UserError))]
