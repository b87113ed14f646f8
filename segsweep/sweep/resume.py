"""State from the records of earlier starts: how trials ended, their curves, and the progress on a plan."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import pandas as pd

from segsweep.config.early_stopping import EarlyStopping
from segsweep.records.readings import curves_of
from segsweep.records.schema import FINAL
from segsweep.records.study_records import Records
from segsweep.sweep.decisions import Ended, ResumeState
from segsweep.sweep.planner import Planner
from segsweep.sweep.tally import EarlierProgress


def resume_state(
    records: Records | None, stopping: EarlyStopping | None, retry_failed: bool = False, lost: Collection[str] = ()
) -> ResumeState:
    """Return the state that earlier starts left, for a planner with the rule of early stopping `stopping`.

    Trials that another rule stopped count as not run and have no curve. So do failed trials with `retry_failed`, and confirmed
    runs whose models are `lost`. Interrupted trials keep their curves, because they are resumed.
    """
    if records is None:
        return ResumeState()
    every = records.all_trials  # includes trials of earlier declarations, which this one may contain again
    again = _stopped_otherwise(every, stopping) | ((every["status"] == "failed") & retry_failed)
    again |= every["trial_id"].isin(list(lost))
    trials = every[every["status"].isin(set(FINAL) - {"skipped"}) & ~again]
    errors = trials["error"].astype(object).where(trials["error"].notna(), None)
    ended = {
        trial: Ended(str(status), error)
        for trial, status, error in zip(trials["trial_id"], trials["status"], errors, strict=True)
    }
    scores = records.all_scores[records.all_scores["status"].isin(["finished"] if retry_failed else ["finished", "failed"])]
    ended |= {score: Ended(str(status)) for score, status in zip(scores["score_id"], scores["status"], strict=True)}
    stages = records.all_stages[(records.all_stages["status"] == "failed") & (not retry_failed)]
    read = records.all_stages[(records.all_stages["status"] == "finished") & records.all_stages["val_reading"].notna()]
    readings = dict(zip(read["stage_id"], read["val_reading"], strict=True))
    failed = dict(zip(stages["stage_id"], stages["error"], strict=True))
    retried = (
        frozenset(records.all_stages.loc[records.all_stages["status"] == "failed", "stage_id"]) if retry_failed else frozenset()
    )
    restarted = set(every["trial_id"][again])
    recorded = curves_of(every, records.all_epochs, "tune", "search")
    curves = {trial: curve for trial, curve in recorded.items() if trial not in restarted}
    confirmed = curves_of(every, records.all_epochs, "confirm")
    searched = plain_rows(every[every["phase"] == "search"])
    return ResumeState(ended, curves, failed, readings, retried, confirmed, searched)


def plain_rows(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows of the trials table as mappings from its columns to plain values, None for a missing value."""
    columns = {str(name): [None if pd.isna(value) else value for value in trials[name].tolist()] for name in trials.columns}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _stopped_otherwise(trials: pd.DataFrame, stopping: EarlyStopping | None) -> "pd.Series[bool]":
    """Return which trials were stopped by a rule other than the given one."""
    return (trials["status"] == "stopped") & (trials["stopped_by"].fillna("") != str(stopping))


def earlier_progress(planner: Planner, records: Records) -> EarlierProgress:
    """Return the progress of earlier starts on a plan."""
    val_iou = records.all_trials.set_index("trial_id")["val_iou"].dropna()
    done, best, ended = Counter[str](), dict[str, float](), dict[str, Ended]()
    for cell in planner.plan.cells:
        of_cell = planner.ended(cell)
        done[cell.name] += len(of_cell)
        ended |= of_cell
        if read := [float(val_iou[trial]) for trial in of_cell if trial in val_iou]:
            best[cell.name] = max(*read, best.get(cell.name, 0.0))
    stages, missing = records.all_stages, {stage.spec_id for stage in planner.missing_stages()}
    planned = {stage.spec_id for stage in planner.plan.stages()} - missing
    failed = sum(end.status == "failed" for end in ended.values())
    failed += int((stages["stage_id"].isin(planned) & (stages["status"] == "failed")).sum())
    return EarlierProgress(frozenset(ended), done, best, failed, len(missing))


def ids_to_restart(records: Records, lost: Collection[str] = ()) -> frozenset[str]:
    """Return the ids of the trials, stages and scores that start from scratch if they are run again.

    These are failed trials, stages and scores, stopped trials, and confirmed runs whose models are `lost`.
    """
    trials, stages, scores = records.all_trials, records.all_stages, records.all_scores
    again = (
        trials["trial_id"][trials["status"].isin(["failed", "stopped"])],
        stages["stage_id"][stages["status"] == "failed"],
        scores["score_id"][scores["status"] == "failed"],
    )
    return frozenset(lost).union(*again)
