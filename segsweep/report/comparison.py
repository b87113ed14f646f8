"""The terms on which a study compares fractions and sources: steps or epochs, sizes, and source learning rates."""

import json
from collections.abc import Iterable, Iterator

import pandas as pd

from segsweep.config.folds import folds_of
from segsweep.config.stage_kinds import is_self_supervised
from segsweep.records.study_records import Records
from segsweep.report.cells import compared_axes, confirmed_runs
from segsweep.report.sources import trained_stages

PARTS = ("fraction", "dev_share")  # axes that change the number of target images that a trial is trained on


def comparison_lines(records: Records) -> list[str]:
    """Return one sentence on each compared axis among folds, fractions and trained sources, with its terms."""
    return [*_of_folds(records), *_of_target_images(records), *_of_sources(records)]


def _of_folds(records: Records) -> Iterator[str]:
    folds = folds_of(records.study["target"]["protocol"])
    if folds is not None:
        confirmed = confirmed_runs(records)
        planned = len(set(records.trials["fold"].dropna()))
        complete = len(confirmed) == len(records.study["cells"]) * int(records.study["seeds"]) * len(folds.numbers)
        once = "once" + (" per repetition" if folds.repetitions > 1 else "")
        if complete:
            note = f"every image of the pool is tested {once} with every seed"
        elif planned < len(folds.numbers):
            note = f"only {planned} of {len(folds.numbers)} folds are part of this study"
        else:
            note = "not all runs of all folds have finished, so cells may be averages over different images"
        tuned = " Each fold is tuned on its own training and validation images." if records.study["tune"] else ""
        averages = "Means are over folds; the spread is over the runs of all folds and seeds."
        yield f"Cross-validation, {folds}: {note}.{tuned} {averages}"


def _of_target_images(records: Records) -> Iterator[str]:
    planned = records.trials
    axes = [axis for axis in PARTS if axis in compared_axes(records) and planned[axis].nunique() > 1]
    if not axes:
        return
    name = {"fraction": "Fractions", "dev_share": "Development shares"}[axes[0]]
    if planned["steps"].notna().all():
        yield f"{name} are compared at equal steps: {_between(planned['steps'])} for every number of training images."
        return
    confirmed = planned.loc[planned["phase"] == "confirm", "trial_id"]
    steps = records.epochs[records.epochs["trial_id"].isin(set(confirmed))].groupby("trial_id")["steps"].max()
    spread = f", which are {_between(steps)} optimiser steps" if len(steps) else ""
    yield f"{name} are compared at equal epochs ({_between(planned['epochs'])}){spread}: less data also means fewer steps."


def _of_sources(records: Records) -> Iterator[str]:
    planned = records.trials["stage_id"]
    stages = trained_stages(records)
    sources = stages[stages["stage_id"].isin(set(planned))]  # only the last stage of each chain
    if sources["stage"].nunique() < 2:
        return
    sizes, steps = sources["train_images"], sources["steps"]
    lengths = [
        f"equal {what} ({_between(values)})" if values.nunique() == 1 else f"unequal {what} ({_between(values)})"
        for what, values in (("size", sizes), ("steps", steps))
    ]
    units = lengths[0].replace(")", " images)")
    yield f"Trained sources are compared at {units} and {lengths[1]}."


def rate_lines(records: Records) -> list[str]:
    """Return a sentence on fixed learning rates of supervised sources, and one on those of self-supervised sources."""
    rates: dict[bool, list[float]] = {True: [], False: []}  # whether the stages are self-supervised -> their rates
    for _, row in trained_stages(records).iterrows():
        rates[is_self_supervised(row["kind_of_stage"])].append(json.loads(row["settings"])["learning_rate"])
    lines = []
    if rates[False] and records.study.get("source_range") is None:
        lines.append(
            f"Supervised sources are trained at a learning rate that is not tuned ({_between(rates[False])}); "
            "source_trials=3 tries three."
        )
    if rates[True]:
        lines.append(f"Self-supervised sources are trained at a fixed learning rate ({_between(rates[True])}).")
    return lines


def _between(values: Iterable[float]) -> str:
    """Return the common value of all, or the lowest and the highest value, as text."""
    numbers = pd.Series(values).dropna().astype("float64")
    if numbers.empty:
        return "unknown"
    low, high = numbers.min(), numbers.max()
    return f"{low:,g}" if low == high else f"{low:,g} to {high:,g}"
