"""The status of a study: its state, cells, trials, stages and workers, from its records and its driver's status file."""

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.damage import INDEX
from segsweep.records.driver_status import FINISHED, INTERRUPTED, RUNNING, STARTING, DriverStatus, WorkerInfo
from segsweep.records.lines import Row, declared
from segsweep.records.liveness import DriverWatch
from segsweep.records.reader import load_tasks
from segsweep.records.study_records import Records
from segsweep.records.times import seconds_of
from segsweep.report.not_started import budget_line
from segsweep.report.planned_work import PlannedWork
from segsweep.report.rows import plain_rows

WAITING, CRASHED = "waiting", "crashed"  # states that no driver writes itself: all work waits; the driver has died
LIVE = (STARTING, RUNNING, WAITING)
GROUPS: Mapping[str, str] = {  # status of a trial or stage -> the group in which it is counted
    "finished": "done",
    "stopped": "done",
    "running": "running",
    "failed": "failed",
    "skipped": "failed",
}
TRACEBACK = re.compile(r" \(traceback: [^)]*\)$")


@dataclass(frozen=True)
class Counts:
    """The number of planned trials or stages, and how many of them are done, running, waiting and failed."""

    planned: int = 0
    done: int = 0
    running: int = 0
    waiting: int = 0
    failed: int = 0

    @classmethod
    def of(cls, groups: Iterable[str]) -> "Counts":
        """Return the counts from the group of each trial or stage."""
        counted = Counter(groups)
        return cls(counted.total(), **counted)


@dataclass(frozen=True)
class CellStatus:
    """The counts of a cell's trials, and the best validation IoU of the done ones (None if there is none)."""

    cell: str
    trials: Counts
    best_val_iou: float | None


@dataclass(frozen=True)
class RunningTask:
    """A running trial, stage or score: its last epoch with the measures, and its worker. `epochs` is the planned number."""

    kind: str
    id: str
    name: str
    epoch: int
    epochs: int | None
    val_iou: float | None
    images_per_second: float | None
    seconds: float
    machine: str | None
    device: str | None


@dataclass(frozen=True)
class Failure:
    """A reason for failures, the number of tasks that failed for it, and the cell, stage or scores of one of them."""

    reason: str
    count: int
    example: str


@dataclass(frozen=True)
class StudyStatus:
    """The status of a study at one moment.

    While its driver is alive, `state` is starting, running or waiting (all work waits for something); afterwards it is finished,
    interrupted, ended (by an error) or crashed. `age_seconds` is the time since the driver last wrote its status; None on another
    machine, whose clock may differ. `left_out` is the number of recorded trials that are no longer planned. `budget` is a
    sentence on the runs that a budget or a deadline has not started; None if there are none.
    """

    study: str
    folder: str
    state: str
    driver: DriverStatus | None = None
    age_seconds: float | None = None
    last_change_at: float | None = None
    trials: Counts = field(default_factory=Counts)
    stages: Counts = field(default_factory=Counts)
    cells: tuple[CellStatus, ...] = ()
    running: tuple[RunningTask, ...] = ()
    failures: tuple[Failure, ...] = ()
    left_out: int = 0
    budget: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether the study's driver is alive."""
        return self.state in LIVE

    @property
    def ends_at(self) -> float | None:
        """The expected end, in seconds since 1970 by the driver's clock; None if unknown."""
        if self.driver is None or self.state != RUNNING or self.driver.seconds_left is None:
            return None
        return self.driver.updated_at + self.driver.seconds_left

    @property
    def images_per_second(self) -> float | None:
        """The total training speed of all running tasks; None if unknown."""
        speeds = [task.images_per_second for task in self.running if task.images_per_second is not None]
        return sum(speeds) if speeds else None

    @property
    def best_val_iou(self) -> float | None:
        """The best validation IoU of all cells; None if there is none."""
        return max((cell.best_val_iou for cell in self.cells if cell.best_val_iou is not None), default=None)

    def as_row(self) -> Row:
        """Return the status as plain values, for `--json`. The names are stable; `segsweep/records/README.md` lists them."""
        driver = asdict(self.driver) if self.driver is not None else {}
        names = ("reason", "waiting_for", "preparing", "host", "pid", "command", "started_at", "updated_at", "workers", "runs_on")
        row = asdict(self)
        del row["driver"]
        return {
            **row,
            **{name: driver.get(name) for name in names},
            "busy_workers": driver.get("busy", []) if self.is_live else [],
            "best_val_iou": self.best_val_iou,
            "trials_per_hour": driver.get("trials_per_hour"),
            "images_per_second": self.images_per_second,
            "seconds_left": driver.get("seconds_left") if self.state == RUNNING else None,
            "ends_at": self.ends_at,
        }


def read_status(
    folder: Path, watch: DriverWatch | None = None, watched: Callable[[DriverStatus], None] = lambda _: None
) -> StudyStatus:
    """Return the current status of a study folder.

    `watched` is called if it takes seconds to find out whether the driver is alive. Raises `UserError` if there is no study, and
    for damaged records.
    """
    driver, alive = (watch or DriverWatch(folder)).wait(watched)
    if driver is not None and not declared(folder) and not (folder / INDEX).is_file():  # the driver has no records yet
        return StudyStatus(folder.name, str(folder), state_of(driver, alive, 1), driver, _age(driver), driver.updated_at)
    return status_of(load_tasks(folder, alive), driver, alive)


def status_of(records: Records, driver: DriverStatus | None = None, alive: bool | None = None) -> StudyStatus:
    """Return the status of records, with their driver's status and whether it is alive.

    If `alive` is None, the driver counts as alive if the records have running trials or stages.
    """
    rows = {row["trial_id"]: row for row in plain_rows(records.all_trials[list(_used(records.all_trials))])}
    work = PlannedWork.of(records)
    of_cells, unchosen = work.by_cell([str(cell) for cell in records.study.get("cells", ())]), work.unchosen()

    def group(trial: str) -> str:
        known = GROUPS.get(rows[trial]["status"] if trial in rows else "not_run", "waiting")
        return "failed" if known == "waiting" and trial in unchosen else known

    groups = {cell: [group(trial) for trial in trials] for cell, trials in of_cells.items()}
    cells = tuple(CellStatus(cell, Counts.of(groups[cell]), _best(rows, trials)) for cell, trials in of_cells.items())
    trials = Counts.of([*(each for cell in groups.values() for each in cell), *["waiting"] * work.unnamed])
    stages = _stage_counts(records, work)
    lives = trials.running + stages.running > 0 if alive is None else alive
    if lives and driver is not None and not driver.goes_on:
        driver = None  # this status is from an earlier driver
    return StudyStatus(
        str(records.study["name"]),
        str(records.folder),
        state_of(driver, lives, trials.waiting + trials.running),
        driver,
        _age(driver),
        _last_change(records, driver if lives else None),
        trials,
        stages,
        cells,
        tuple(_running(records, driver)) if lives else (),
        tuple(_failures(records, unchosen)),
        len(records.all_trials) - len(records.trials),
        budget_line(records),
    )


def state_of(driver: DriverStatus | None, alive: bool, left: int) -> str:
    """Return a study's state from its driver's status, or without one from `alive` and the number of trials `left`."""
    if driver is None:
        return RUNNING if alive else INTERRUPTED if left else FINISHED
    if not alive:
        return CRASHED if driver.goes_on else driver.state
    return WAITING if driver.waiting_for is not None else driver.state


def _used(trials: pd.DataFrame) -> Iterable[str]:
    return (name for name in ("trial_id", "status", "val_iou") if name in trials)


def _best(rows: Mapping[str, Row], trials: Iterable[str]) -> float | None:
    """Return the best validation IoU of the trials that are done; None if there is none."""
    done = (rows[trial] for trial in trials if trial in rows and GROUPS.get(rows[trial]["status"]) == "done")
    return max((float(row["val_iou"]) for row in done if row["val_iou"] is not None), default=None)


def _stage_counts(records: Records, work: PlannedWork) -> Counts:
    """Return the counts of the stages that the study needs; stages that have not started count as waiting."""
    statuses = dict(zip(records.all_stages["stage_id"], records.all_stages["status"], strict=True))
    return Counts.of(GROUPS.get(statuses.get(stage, "not_run"), "waiting") for stage in work.stages)


def _running(records: Records, driver: DriverStatus | None) -> Iterable[RunningTask]:
    """Yield the running tasks, stages first and scores last, each with its last epoch and its worker."""
    workers = {worker.task: worker for worker in driver.busy} if driver is not None else {}
    epochs = dict(iter(records.epochs.groupby("trial_id", sort=False)))
    for stage in plain_rows(records.stages[records.stages["status"] == "running"]):
        settings = json.loads(stage["settings"] or "{}")
        planned = settings.get("epochs") or settings.get("validations")
        name = f"{stage['stage']} for {stage['model']}"
        yield _running_task("stage", stage["stage_id"], name, planned, stage, epochs, workers)
    for trial in plain_rows(records.trials[records.trials["status"] == "running"]):
        planned = trial["epochs"] or trial["validations"]
        yield _running_task("trial", trial["trial_id"], _trial_name(trial), planned, trial, epochs, workers)
    for score in plain_rows(records.scores[records.scores["status"] == "running"]):
        name = f"scores of {score['source']} for {score['architecture']}"
        yield _running_task("score", score["score_id"], name, None, score, epochs, workers)


def _trial_name(trial: Row) -> str:
    """Return a trial's phase, cell, learning rate, fold and seed in words, as the log does."""
    rate = f" lr={trial['learning_rate']:g}" if trial["learning_rate"] is not None else ""
    fold = f" fold={trial['fold']}" if trial["fold"] is not None else ""
    return f"{trial['phase']} {trial['cell']}{rate}{fold} seed={trial['seed']}"


def _running_task(
    kind: str,
    identity: str,
    name: str,
    planned: int | None,
    row: Row,
    epochs: Mapping[Any, pd.DataFrame],
    workers: Mapping[str, WorkerInfo],
) -> RunningTask:
    last: Row = plain_rows(epochs[identity].tail(1))[0] if identity in epochs else {}
    worker = workers.get(identity)
    return RunningTask(
        kind,
        identity,
        name,
        int(last.get("epoch") or 0),
        planned,
        last.get("val_iou"),
        last.get("images_per_second"),
        float(row["seconds"] or 0.0),
        worker.machine if worker else None,
        row["device"],
    )


def _failures(records: Records, unchosen: Mapping[str, str]) -> Iterable[Failure]:
    """Yield every reason once: of failed stages, trials and scores, then of cells that could not choose a setting."""
    bad = ["failed", "skipped"]
    stages, trials = (data[data["status"].isin(bad)] for data in (records.stages, records.trials))
    failed = [*zip(stages["error"], stages["stage"], strict=True), *zip(trials["error"], trials["cell"], strict=True)]
    scores = records.scores[records.scores["status"] == "failed"]
    failed += [(error, f"scores of {source}") for error, source in zip(scores["error"], scores["source"], strict=True)]
    reasons: dict[str, list[str]] = {}
    for reason, where in failed:
        text = "no reason is recorded" if pd.isna(reason) else TRACEBACK.sub("", str(reason))
        reasons.setdefault(text, []).append(str(where))
    yield from (Failure(reason, len(where), where[0]) for reason, where in reasons.items())
    for reason, count in Counter(unchosen.values()).items():
        yield Failure(reason, count, "confirmed runs")


def _last_change(records: Records, driver: DriverStatus | None) -> float | None:
    """Return the time of the last record or of the driver's last status, by the driver's clock; None if there is none."""
    times = [
        records.all_trials[["started_at", "ended_at"]].max().max(),
        records.all_stages[["started_at", "ended_at"]].max().max(),
    ]
    starts = [start["at"] for start in records.study.get("starts", [])]
    known = [*map(seconds_of, times), *starts, driver.updated_at if driver is not None else None]
    return max((float(each) for each in known if each is not None), default=None)


def _age(driver: DriverStatus | None) -> float | None:
    """Return the seconds since a driver wrote its status; None if it is on another machine, whose clock may differ."""
    if driver is None or driver.host != socket.gethostname():
        return None
    return max(0.0, time.time() - driver.updated_at)
