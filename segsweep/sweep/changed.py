"""Comparison of a study's declaration with its last one: what has changed, and how many recorded trials no longer belong."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from segsweep.config.work import TRIAL_VERSION
from segsweep.records.lines import plain
from segsweep.records.study_records import Records
from segsweep.sweep.planner import Planner
from segsweep.sweep.rows import planned_rows

OF_NO_TRIAL = (  # parts of a declaration that do not affect any trial
    *("schema_version", "segsweep", "question", "records_id", "starts", "store", "cells", "published"),
    *("looked", "forked_from"),
)
SHOWN, LONGEST = 3, 60  # differences in a line; characters of a value


def changed_line(folder: Path, before: Records | None, declared: Mapping[str, Any], planner: Planner) -> str | None:
    """Return a line on recorded trials that the new declaration no longer contains, and why; None if there are none."""
    if before is None or not (count := _left_behind(before, planner)):
        return None
    what = list(differences(before.study, json.loads(json.dumps(plain(dict(declared))))))
    more = f" and {len(what) - SHOWN} more" if len(what) > SHOWN else ""
    versions = sorted(set(before.trials["method_version"].dropna()) - {TRIAL_VERSION})
    if what:
        why = f"was declared differently ({'; '.join(what[:SHOWN])}{more})"
    elif versions:
        why = f"was run by an earlier version of the method (version {', '.join(map(str, versions))})"
    else:
        why = "was run on other data or other devices"
    kept = f"{count} of its {len(before.all_trials)} trials no longer belong to it and remain only in all_trials"
    return f"the study in {folder} {why}; {kept}; to keep both studies, give this one another folder with --name NAME"


def _left_behind(before: Records, planner: Planner) -> int:
    """Return the number of trials that an earlier declaration ran and that the new one does not contain.

    Confirmed runs of a cell that has not chosen its setting yet may still belong to it, unless its tuning trials have changed.
    """
    asked = {row["trial_id"] for row in planned_rows(planner)} | {
        trial.trial_id for each in planner.choices.values() for trial in each.confirm
    }
    undecided = {cell.name for cell in planner.plan.cells if cell.key not in planner.choices}
    begun = before.trials[before.trials["status"] != "not_run"]
    others = begun[~begun["trial_id"].isin(asked)]
    retuned = set(others.loc[others["phase"] == "tune", "cell"])
    maybe = (others["phase"] == "confirm") & others["cell"].isin(undecided - retuned)
    return int((~maybe).sum())


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences of two declarations, as `NAME: VALUE, now VALUE`."""
    flat_before, flat_now = dict(_flat(before)), dict(_flat(now))
    for name in dict.fromkeys((*flat_now, *flat_before)):
        values = [_short(flat[name]) if name in flat else "not set" for flat in (flat_before, flat_now)]
        if flat_before.get(name) != flat_now.get(name):
            yield f"{name}: {values[0]}, now {values[1]}"


def _flat(declared: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values of a declaration, under the names of the study file and the command line."""
    for name, value in declared.items():
        if name == "compare" and len(value) == 1:
            yield from value[0].items()
        elif name in ("tune", "fixed"):
            yield from value.items()
        elif isinstance(value, dict):
            yield from ((f"{name} {part}", each) for part, each in value.items())
        elif name not in OF_NO_TRIAL:
            yield name, value


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
