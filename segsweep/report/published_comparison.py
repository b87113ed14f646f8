"""Comparison of a study's results with the published numbers in its declaration."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from segsweep.config.class_name import same_class
from segsweep.records.study_records import Records
from segsweep.report.cells import having


def beside_published(records: Records) -> pd.DataFrame:
    """Return one row per published run; an empty frame for a study without published numbers.

    Columns: `run`; `cell` (empty if the study has no such cell); and for each measure `MEASURE` (the mean over the confirmed runs
    of this study, NaN if there are none; for a run `before` fine-tuning, of their source's model) and `MEASURE_published`.

    If the study does not have the run's source, the first cell that differs from it only in the source is used; `run` then names
    the source of that cell.
    """
    published = records.study.get("published")
    if published is None:
        return pd.DataFrame()
    return pd.DataFrame([_row(run, records.trials) for run in published["runs"]])


def _row(run: Mapping[str, Any], planned: pd.DataFrame) -> dict[str, Any]:
    cell, name = like_cell(run["cell"], planned), run["name"]
    if cell is None and "architecture" in run["cell"] and "source" in run["cell"]:
        others = {axis: value for axis, value in run["cell"].items() if axis != "source"}
        if run["cell"]["source"] not in set(planned["source"]) and (cell := like_cell(others, planned)) is not None:
            name = f"{name} (here from {planned.loc[planned['cell'] == cell, 'source'].iloc[0]})"
    confirmed = planned[(planned["cell"] == cell) & (planned["phase"] == "confirm") & (planned["status"] == "finished")]
    numbers: dict[str, float] = {}
    for measure, number in run["measures"].items():
        column = f"before_{measure.removeprefix('test_')}" if run.get("before") else measure
        alike = [name for name in confirmed.columns if same_class(str(name), column)]  # class names may differ in spelling
        found = confirmed[alike[0]] if alike else pd.Series(dtype="float64")
        numbers |= {measure: float(found.mean()), f"{measure}_published": number}
    return {"run": name, "cell": cell or "", **numbers}


def like_cell(wanted: Mapping[str, Any], planned: pd.DataFrame) -> str | None:
    """Return the first cell with the wanted settings, None if there is none."""
    alike = having(planned, wanted)
    return str(alike["cell"].iloc[0]) if len(alike) else None
