"""What the tasks of one run took, from its records, in the form in which the store keeps it for later predictions."""

import math
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.sweep.cost import CostModel, trained_images
from segsweep.sweep.plan import Plan
from segsweep.sweep.planner import Planner
from segsweep.training.machine import device_label
from segsweep.training.speed_key import SpeedKey
from segsweep.training.timings import TaskTimes, Timings, TuningShare

LEAST_TRIALS = 4  # with fewer tuning trials, their share of epochs says little
OF_STORE_SECONDS = 0.1  # scores that take no longer were in the store
OF_SPREAD = (0.1, 0.9)  # quantiles that `TaskTimes.spread` covers


@dataclass(frozen=True)
class _Run:
    """The measured times of one trial or stage: of all training, all evaluation, and everything else."""

    trained: float
    train_seconds: float
    evaluated: float
    evaluate_seconds: float
    other_seconds: float
    results: int
    tested: int
    cpu_seconds: float

    @property
    def cpu_share(self) -> float:
        """The share of CPU time in the wall time of the epochs; NaN if unknown."""
        return self.cpu_seconds / (self.train_seconds + self.evaluate_seconds)


@dataclass(frozen=True)
class Length:
    """How long a run trains: a number of `epochs`, or None for steps, in batches of some size, over `copies` of each image."""

    epochs: int | None
    batch_size: int
    copies: int = 1

    def images(self, steps: float, count: int) -> float:
        """Return the number of images of one result that took `steps`, from `count` images."""
        return trained_images(None if self.epochs is None else 1, steps, count * self.copies, self.batch_size)


Ended = Mapping[str, pd.DataFrame]  # rows of tasks by table


def ended_since(records: Records, since: float, costs: CostModel) -> Ended:
    """Return the rows of the trials, stages and scores that began after `since` (seconds since 1970) and have ended.

    Tasks that were interrupted, or ran on another kind of device, are left out.
    """
    begun = pd.Timestamp(since, unit="s", tz="UTC")
    tables = {"trials": records.all_trials, "stages": records.all_stages, "scores": records.all_scores}
    known = {name: rows.dropna(subset=["started_at", "ended_at", "starts", "device"]) for name, rows in tables.items()}
    label = device_label(costs.speeds.device)
    return {
        name: rows[(rows["started_at"] >= begun) & (rows["starts"] == 1).astype(bool) & _ran_on(rows, label)]
        for name, rows in known.items()
    }


def _ran_on(rows: pd.DataFrame, label: str | None) -> "pd.Series[bool]":
    """Return which tasks ran on a device; on any GPU if its label is unknown here."""
    devices = rows["device"].astype(str)
    return ~devices.str.startswith("cpu ").astype(bool) if label is None else devices == label


def device_seconds(ended: Ended) -> float:
    """Return the wall time of all tasks, from their starts to their ends, in seconds."""
    return float(sum((rows["ended_at"] - rows["started_at"]).dt.total_seconds().sum() for rows in ended.values() if len(rows)))


def share_of_core(ended: Ended, records: Records, costs: CostModel) -> float | None:
    """Return the share of CPU time in the wall time of all epochs; None unless the workers have one CPU thread."""
    identities = {*ended["trials"]["trial_id"], *ended["stages"]["stage_id"]}
    epochs = records.all_epochs[records.all_epochs["trial_id"].isin(identities) & records.all_epochs["cpu_seconds"].notna()]
    if not costs.speeds.single_thread or not len(epochs):
        return None
    return min(1.0, float(epochs["cpu_seconds"].sum() / epochs["seconds"].sum()))


def run_times(records: Records, planner: Planner, costs: CostModel, since: float, runner: str) -> Timings:
    """Return the times of the trials, stages and scores of a plan that `ended_since`. `runner` is the name of the runner."""
    ended = ended_since(records, since, costs)
    epochs = {str(name): rows for name, rows in records.all_epochs.groupby("trial_id")}
    runs: dict[SpeedKey, list[_Run]] = defaultdict(list)
    for key, row, length, tested in _keyed(ended, planner, costs):
        if (run := _run(row, epochs.get(_identity(row)), length, tested)) is not None:
            runs[key].append(run)
    found = {key.text: _times(of_key, since, costs) for key, of_key in runs.items()}
    shares = _tuning_share(ended["trials"], planner.plan, costs, since)
    share = share_of_core(ended, records, costs) or 1.0
    return Timings({}, found, shares, _start(ended, since, share, runner), _scores(ended["scores"], share, planner, costs))


def _keyed(ended: Ended, planner: Planner, costs: CostModel) -> Iterator[tuple[SpeedKey, Mapping[Any, Any], Length, int]]:
    """Yield every ended trial and trained stage of the plan: the key of its speed, its row, its length, its tested images."""
    plan = planner.plan
    trials = {trial.trial_id: trial for cell in plan.cells for trial in planner.trials(cell)}
    stages = {stage.spec_id: stage for stage in plan.stages() if stage.stage.dataset is not None}
    for row in ended["trials"].to_dict("records"):
        if row["status"] in ("finished", "stopped") and (trial := trials.get(row["trial_id"])) is not None:
            tested = costs.tested_images(trial.settings) if trial.phase == "confirm" else 0
            settings = trial.settings
            length = Length(settings.epochs, settings.batch_size, 1 + settings.augmented_copies)
            yield costs.trial_key(settings), row, length, tested
    for row in ended["stages"].to_dict("records"):
        if row["status"] == "finished" and (stage := stages.get(row["stage_id"])) is not None:
            yield costs.stage_key(stage), row, Length(stage.settings["epochs"], int(stage.settings["batch_size"])), 0


def _identity(row: Mapping[Any, Any]) -> str:
    return str(row.get("trial_id") or row["stage_id"])


def _run(row: Mapping[Any, Any], epochs: pd.DataFrame | None, length: Length, tested: int) -> _Run | None:
    """Return the times of one row; None without epochs, or if a part of them is unknown."""
    if epochs is None or pd.isna(row["val_images"]) or pd.isna(row["train_images"]):
        return None
    epochs = epochs.sort_values("epoch")
    steps = epochs["steps"].diff().fillna(epochs["steps"]).astype(float)
    images = steps.map(partial(length.images, count=int(row["train_images"])))
    train_seconds = float((images / epochs["images_per_second"]).sum())
    seconds, results = float(epochs["seconds"].sum()), len(epochs)
    run = _Run(
        trained=float(images.sum()),
        train_seconds=train_seconds,
        evaluated=results * float(row["val_images"]),
        evaluate_seconds=max(0.0, seconds - train_seconds),
        other_seconds=max(0.0, (row["ended_at"] - row["started_at"]).total_seconds() - seconds),
        results=results,
        tested=tested,
        cpu_seconds=float(epochs["cpu_seconds"].sum(min_count=results)),
    )
    return run if run.trained > 0 and run.train_seconds > 0 and run.evaluated > 0 else None


def _times(runs: Sequence[_Run], at: float, costs: CostModel) -> TaskTimes:
    """Return the medians over the runs of one key.

    With one CPU thread, wall times are multiplied by the share of CPU time in them, which removes what other processes took.
    """
    single = costs.speeds.single_thread
    shares = [min(1.0, run.cpu_share) if single and not math.isnan(run.cpu_share) else 1.0 for run in runs]
    pairs = list(zip(runs, shares, strict=True))
    train = [share * run.train_seconds / run.trained for run, share in pairs]
    result = [share * run.other_seconds / (1 + run.results) for run, share in pairs if not run.tested]
    result_seconds = median(result) if result else 0.0
    tests = [(share * run.other_seconds - result_seconds * (1 + run.results)) / run.tested for run, share in pairs if run.tested]
    low, high = (float(pd.Series(train).quantile(quantile)) for quantile in OF_SPREAD)
    return TaskTimes(
        tasks=len(runs),
        train_seconds=median(train),
        evaluate_seconds=median(share * run.evaluate_seconds / run.evaluated for run, share in pairs),
        result_seconds=result_seconds,
        test_seconds=max(0.0, median(tests)) if tests else None,
        spread=max(high / median(train), median(train) / low),
        at=at,
        machine=socket.gethostname(),
        cpu_share=median(shares) if single else None,
    )


def _tuning_share(trials: pd.DataFrame, plan: Plan, costs: CostModel, at: float) -> dict[str, TuningShare]:
    """Return the share of the planned epochs that the tuning trials of this run ran, by `CostModel.share_keys`."""
    planned = {trial.trial_id: trial.settings.results for cell in plan.cells for trial in cell.tuning}
    rows = trials[trials["trial_id"].isin(planned) & trials["status"].isin(["finished", "stopped"])].dropna(subset=["epochs_run"])
    if plan.study.early_stopping is None or len(rows) < LEAST_TRIALS:
        return {}
    share = float(rows["epochs_run"].astype(float).sum()) / sum(planned[identity] for identity in rows["trial_id"])
    return dict.fromkeys(costs.share_keys, TuningShare(min(1.0, share), len(rows), at))


def _scores(scores: pd.DataFrame, share: float, planner: Planner, costs: CostModel) -> dict[str, float]:
    """Return the median seconds of the scores of a source, times the share of a core, by the text of their key."""
    scores = scores.dropna(subset=["seconds"])
    seconds = dict(zip(scores["score_id"], scores["seconds"].astype(float), strict=True))
    found: dict[str, list[float]] = defaultdict(list)
    for task, _ in planner.all_scores():
        if seconds.get(task.identity, 0.0) > OF_STORE_SECONDS:
            found[costs.trial_key(task.spec.settings).text].append(share * seconds[task.identity])
    return {key: median(values) for key, values in found.items()}


def _start(ended: Ended, since: float, share: float, runner: str) -> dict[str, float]:
    """Return the seconds from the announcement of a run to its first task, times the share of a core, by the runner's name."""
    first = min((rows["started_at"].min() for rows in ended.values() if len(rows)), default=None)
    return {} if first is None else {runner: share * max(0.0, first.timestamp() - since)}
