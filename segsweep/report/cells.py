"""Summary of a study with one row per cell: the chosen setting, the measures of the confirmed runs, and their spread."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from segsweep.config.keep import reading
from segsweep.config.setting_fields import DEFAULT_KEEP
from segsweep.records.study_records import Records

MEASURES = ("test_iou", "test_f1", "test_accuracy", "test_precision", "test_recall")


def compared_axes(records: Records) -> list[str]:
    """Return the axes that the study compares, in the order of its declaration."""
    return list(dict.fromkeys(axis for grid in records.study["compare"] for axis in grid))


def tuned_axes(records: Records) -> list[str]:
    """Return the axes that the study tunes."""
    return list(records.study["tune"])


def is_search(records: Records) -> bool:
    """Return whether a study is a search for the best model instead of a grid."""
    return records.study.get("search") is not None


def reported_cells(records: Records) -> list[str]:
    """Return the cells that a report shows, in the order of the declaration: all of a grid.

    Of a search they are those with a confirmed setting, or with a reason why there is none; before the choice, the best cells so
    far by the validation IoU of their trials.
    """
    cells = list(records.study["cells"])
    if not is_search(records):
        return cells
    shown = {str(choice["cell"]) for choice in records.choices.values()}
    if not shown:
        trials = records.trials.assign(val_iou=records.trials["val_iou"].astype("float64").fillna(-1.0))
        best = trials.groupby("cell")["val_iou"].max().sort_values(ascending=False, kind="stable")
        shown = set(map(str, best.index[: int(records.study["search"]["confirm"])]))
    return [cell for cell in cells if cell in shown]


def follows_source(axis: str) -> bool:
    """Return whether an axis describes how a source is trained or transferred, and so is not comparable between sources."""
    return axis == "transfer" or axis.startswith(("source_", "ssl_"))


def varied(rows: pd.DataFrame, axes: Iterable[str]) -> list[str]:
    """Return the `axes` on which rows differ; a missing value counts as a value."""
    return [axis for axis in axes if rows[axis].nunique(dropna=False) > 1]


def having(rows: pd.DataFrame, settings: Mapping[str, object]) -> pd.DataFrame:
    """Return the rows with these settings; None or NaN matches a missing value."""
    for axis, value in settings.items():
        rows = rows[rows[axis].isna() if pd.isna(value) else rows[axis] == value]  # type: ignore[call-overload]
    return rows


def confirmed_runs(records: Records) -> pd.DataFrame:
    """Return the finished confirmed runs of the study as it was last declared."""
    trials = records.trials
    return trials[(trials["phase"] == "confirm") & (trials["status"] == "finished")]


def median_runs(records: Records) -> pd.DataFrame:
    """Return the confirmed run of every cell whose test IoU is the median (the lower of two), in the order of the records.

    The run with the best reading would flatter cells whose runs scatter. Under a protocol with folds, only runs of the first fold
    are considered, so that all runs have the same test images.
    """
    runs = confirmed_runs(records)
    runs = runs[runs["fold"].isna() | (runs["fold"] == runs["fold"].min())].sort_values("test_iou", kind="stable")
    place, size = runs.groupby("cell").cumcount(), runs.groupby("cell")["cell"].transform("size")
    median: pd.DataFrame = runs[place == (size - 1) // 2]
    return median.sort_index()


def best_first(trials: pd.DataFrame) -> pd.DataFrame:
    """Return trials sorted by the validation reading of their kept epoch, best first.

    The measure is the trials' setting `keep`. It is validation IoU if they differ in `keep`, or if `keep` is `val_loss` and they
    differ in the loss, whose values are then not comparable.
    """
    keeps = trials["keep"].fillna(DEFAULT_KEEP).unique().tolist()
    losses_compare = trials["loss"].nunique() < 2
    keep = keeps[0] if len(keeps) == 1 and (keeps[0] != "val_loss" or losses_compare) else DEFAULT_KEEP
    columns = [trials[name].astype("float64") for name in ("val_iou", "val_loss", "val_dice")]
    values = [reading(keep, val_iou=iou, val_loss=loss, val_dice=dice) for iou, loss, dice in zip(*columns, strict=True)]
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
    return trials.iloc[order]


def summarise(records: Records) -> pd.DataFrame:
    """Return one row per cell of the study as it was last declared, in the order of its cells; see `reported_cells`.

    Columns: `cell`; the compared axes; the chosen value of every tuned axis (a text if folds chose differently); `val_iou` and
    the test measures (means over confirmed runs); `test_iou_std` (sample standard deviation over confirmed runs, NaN for fewer
    than two); `seeds` (finished confirmed runs) and `seeds_planned`; `failed`, `skipped` and `stopped` (numbers of trials);
    `at_edge` (tuned axes whose choice lies at an edge); `note` (the reason for missing numbers).
    """
    read = [
        "trial_id",
        "cell",
        "phase",
        "status",
        "error",
        "fold",
        "val_iou",
        *MEASURES,
        *compared_axes(records),
        *tuned_axes(records),
    ]
    trials = records.trials[list(read)]  # selecting rows of all columns takes ten times as long
    of_cells = dict(list(trials.groupby("cell", sort=False)))
    choices: dict[str, list[Mapping[str, Any]]] = {}
    for choice in records.choices.values():
        choices.setdefault(choice["cell"], []).append(choice)
    rows = [
        _row(cell, of_cells.get(cell, trials[:0]), choices.get(cell, []), records, trials) for cell in reported_cells(records)
    ]
    return pd.DataFrame(rows)


def _chosen(values: "pd.Series[Any]") -> Any:
    """Return the chosen value; if folds chose differently, all values as a text, in ascending order."""
    distinct = list(dict.fromkeys(values))
    if len(distinct) < 2:
        return distinct[0] if distinct else float("nan")
    numbers = all(isinstance(value, int | float) for value in distinct)
    return ", ".join(f"{value:.3g}" for value in sorted(distinct)) if numbers else ", ".join(map(str, distinct))


def _mean(values: "pd.Series[float]", folds: "pd.Series[Any]") -> float:
    """Return the mean over runs; with folds, the mean over folds of each fold's mean. NaN if any run's value is NaN."""
    numbers = values.astype("float64")
    if numbers.empty or numbers.isna().any():
        return float("nan")
    return float(numbers.groupby(folds.fillna(0).astype(int)).mean().mean())


def _row(
    cell: str, trials: pd.DataFrame, choices: Sequence[Mapping[str, Any]], records: Records, every: pd.DataFrame
) -> dict[str, Any]:
    """Return the row of a cell from its trials and choices; `every` has the trials of all cells."""
    confirmed = trials[(trials["phase"] == "confirm") & (trials["status"] == "finished")]
    planned = int(records.study["seeds"]) * max(1, trials["fold"].nunique())
    ids = [choice["chosen"] for choice in choices if choice["chosen"]]
    chosen = every[every["trial_id"].isin(ids)]  # from all trials, because cells can share tuning trials
    count = {status: int((trials["status"] == status).sum()) for status in ("failed", "skipped", "stopped")}
    spread = float(confirmed["test_iou"].std(ddof=1)) if len(confirmed) > 1 else float("nan")
    reasons = [*_reasons(choices), *trials["error"].dropna()]
    return {
        "cell": cell,
        **{axis: trials[axis].iloc[0] for axis in compared_axes(records)},
        **{axis: _chosen(chosen[axis]) for axis in tuned_axes(records)},
        **{measure: _mean(confirmed[measure], confirmed["fold"]) for measure in ("val_iou", *MEASURES)},
        "test_iou_std": spread,
        "seeds": len(confirmed),
        "seeds_planned": planned,
        **count,
        "at_edge": ",".join(dict.fromkeys(axis for choice in choices for axis in choice["at_edge"])),
        "note": str(reasons[0]) if len(confirmed) < planned and reasons else "",
    }


def _reasons(choices: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the reasons why a cell could not choose a setting, one per fold."""
    failed = [choice for choice in choices if choice.get("reason")]
    return [f"fold {choice['fold']}: {choice['reason']}" if "fold" in choice else choice["reason"] for choice in failed]
