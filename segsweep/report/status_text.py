"""The status of a study as lines for a terminal, and its changes as lines for a log."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from rich.table import Table

from segsweep.durations import readable_seconds
from segsweep.records.driver_status import ENDED, FINISHED, INTERRUPTED, STARTING, DriverStatus
from segsweep.report.layout import lines_of, new_table
from segsweep.report.status import CRASHED, WAITING, CellStatus, Counts, Failure, RunningTask, StudyStatus

RUNNING_SHOWN, FAILURES_SHOWN = 16, 12
UPLOADED = "working_dir_files"  # part of the path of a folder to which Ray has copied a job's files
INDENT = " " * 9  # aligns continuation lines with the text after a line's first word
STATES = {
    STARTING: "starting",
    WAITING: "waiting",
    FINISHED: "finished",
    INTERRUPTED: "interrupted",
    ENDED: "ended by an error",
    CRASHED: "crashed: its driver ended without recording why, as after kill -9 or a power failure",
}


@dataclass(frozen=True)
class Line:
    """A line of text. `news` is the value whose change makes the line worth logging; it excludes values that change with time.

    A line with `is_whole` is never wrapped.
    """

    text: str
    news: object
    is_whole: bool = False

    def wrapped(self, width: int) -> list[str]:
        """Return the line, wrapped to at most `width` characters."""
        if self.is_whole:
            return [self.text]
        return wrap(self.text, width, subsequent_indent=INDENT, break_long_words=False, break_on_hyphens=False)


def status_lines(status: StudyStatus, width: int, most_cells: int | None = None) -> list[str]:
    """Return the status as lines of about `width` characters, with at most `most_cells` cells.

    If there are more cells, those with running or waiting trials are shown first.
    """
    cells = _shown(status.cells, most_cells)
    hidden = [] if len(cells) == len(status.cells) else [f"and {len(status.cells) - len(cells)} more cells"]
    parts = [
        [piece for line in _head(status) for piece in line.wrapped(width)],
        lines_of(_running_table(status.running), width) if status.running else [],
        [*(lines_of(_cell_table(cells), width) if cells else []), *hidden],
        [piece for line in _failure_lines(status.failures) for piece in line.wrapped(width)],
    ]
    return [line for number, part in enumerate(part for part in parts if part) for line in ([""] * bool(number) + part)]


def news(before: StudyStatus | None, now: StudyStatus) -> list[str]:
    """Return the lines that have changed from one status to the next, for a log; all lines if `before` is None."""
    known = {line.news for line in _log_lines(before)} if before is not None else set()
    return [line.text for line in _log_lines(now) if line.news not in known]


def _log_lines(status: StudyStatus) -> Iterator[Line]:
    yield from _head(status)
    for task in status.running:
        measured = f", val IoU {task.val_iou:.3f}" if task.val_iou is not None else ""
        text = f"running  {task.name}: epoch {_epoch(task)}{measured}{_place(task)}"
        yield Line(text, (task.id, task.epoch))
    for cell, name in zip(status.cells, short_names(status.cells), strict=True):
        best = f", best val IoU {cell.best_val_iou:.3f}" if cell.best_val_iou is not None else ""
        yield Line(f"cell     {name}: {_counted(cell.trials)}{best}", ("cell", name, cell))
    yield from _failure_lines(status.failures)


def _head(status: StudyStatus) -> Iterator[Line]:
    """Yield the lines on the whole study."""
    driver = status.driver
    yield Line(f"{status.study}: {_state(status)}", (status.state, driver and (driver.host, driver.pid, driver.reason)))
    if driver is not None and driver.waiting_for is not None and status.is_live:
        yield Line(f"waiting  {driver.waiting_for}", driver.waiting_for)
    if driver is not None and driver.preparing is not None and status.is_live:
        yield Line(f"data     {driver.preparing}", driver.preparing)
    if status.trials.planned:
        yield Line(f"trials   {_counted(status.trials)}{_left_out(status)}", ("trials", status.trials, status.left_out))
    if status.budget is not None:
        yield Line(f"limits   {status.budget}", ("budget", status.budget))
    if status.stages.planned:
        yield Line(f"stages   {_counted(status.stages)}", ("stages", status.stages))
    if status.is_live and (pace := _pace(status)):
        yield Line(f"pace     {pace}", "pace")
    if status.is_live and driver is not None and driver.workers is not None:
        yield Line(f"workers  {_workers(status)}", ("workers", driver.workers, driver.runs_on))
    if not status.is_live and status.state != FINISHED:
        yield Line(f"continue by {_how(driver)}; finished work is kept", "continue")
        if driver is not None:
            yield Line(f"{INDENT}{driver.command}", "command", is_whole=True)


def _state(status: StudyStatus) -> str:
    """Return the state, with the driver's machine, its running time and the age of the status."""
    driver = status.driver
    words = STATES.get(status.state, status.state)
    if driver is None:
        since = f", last change {clock(status.last_change_at)}" if status.last_change_at is not None else ""
        return words + (since if not status.is_live else "")
    if status.is_live:
        seconds = driver.updated_at - driver.started_at
        age = f"{status.age_seconds:.0f} s ago" if status.age_seconds is not None else f"{clock(driver.updated_at)} by its clock"
        return f"{words} on {driver.host} (process {driver.pid}) for {readable_seconds(seconds)}, as of {age}"
    reason = f": {driver.reason}" if driver.reason else ""
    return f"{words}, {clock(driver.updated_at)} on {driver.host}{reason}"


def _counted(counts: Counts) -> str:
    more = [f"{count} {name}" for name in ("running", "waiting", "failed") if (count := getattr(counts, name))]
    return ", ".join([f"{counts.done} of {counts.planned} done", *more])


def _left_out(status: StudyStatus) -> str:
    """Return, in words, the number of trials that are not counted because they are no longer planned."""
    return f"; not counted: {status.left_out} trials that are no longer planned (all_trials)" if status.left_out else ""


def _pace(status: StudyStatus) -> str:
    """Return the rates and the expected end, in words."""
    driver, rates = status.driver, []
    if driver is not None and driver.trials_per_hour is not None:
        rates.append(f"{_rounded(driver.trials_per_hour)} trials/h")
    if (speed := status.images_per_second) is not None:
        rates.append(f"{_rounded(speed)} images/s")
    parts = [", ".join(rates)] if rates else []
    if driver is not None and driver.seconds_left is not None and (ends_at := status.ends_at) is not None:
        parts.append(f"about {readable_seconds(driver.seconds_left)} left, ends about {clock(ends_at)}")
    return "; ".join(parts)


def _how(driver: DriverStatus | None) -> str:
    """Return, in words, how to continue a study. The folder of a Ray job is deleted with the job, so it is not named."""
    if driver is None:
        return "the same command"
    is_job = UPLOADED in Path(driver.folder).parts
    return "submitting the same job again" if is_job else f"the same command in {driver.folder}"


def _rounded(rate: float) -> str:
    """Return a rate with three significant digits."""
    return f"{float(f'{rate:.3g}'):,.10g}"


def _workers(status: StudyStatus) -> str:
    """Return, in words, the number of workers, their hardware, and the number of busy ones per machine."""
    assert status.driver is not None
    driver = status.driver
    runs_on = str(driver.runs_on)
    busy = Counter(worker.machine for worker in driver.busy if worker.machine is not None)
    starting = len(driver.busy) - busy.total()
    parts = [runs_on if "worker" in runs_on else f"{driver.workers} on {runs_on}"]
    parts += [f"busy: {', '.join(f'{count} on {machine}' for machine, count in sorted(busy.items()))}"] if busy else []
    return "; ".join([*parts, *([f"starting: {starting}"] if starting else [])])


def clock(at: float) -> str:
    """Return a moment (seconds since 1970) as local time, with the date unless it is today."""
    moment = time.localtime(at)
    today = time.strftime("%Y%j", moment) == time.strftime("%Y%j")
    return time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", moment)


def short_names(cells: Sequence[CellStatus]) -> list[str]:
    """Return the names of cells without the settings that all cells share."""
    words = [cell.cell.split(" ") for cell in cells]
    if len(cells) < 2 or len({len(each) for each in words}) > 1:
        return [cell.cell for cell in cells]
    differing = [len(set(column)) > 1 for column in zip(*words, strict=True)]
    return [" ".join(word for word, differs in zip(each, differing, strict=True) if differs) for each in words]


def _shown(cells: Sequence[CellStatus], most: int | None) -> tuple[CellStatus, ...]:
    """Return at most `most` cells in their order; cells with running or waiting trials take precedence."""
    if most is None or len(cells) <= most:
        return tuple(cells)
    ranked = sorted(range(len(cells)), key=lambda number: (_rank(cells[number].trials), number))
    return tuple(cells[number] for number in sorted(ranked[: max(most, 0)]))


def _rank(trials: Counts) -> int:
    return 0 if trials.running else 1 if trials.waiting else 2


def _cell_table(cells: Sequence[CellStatus]) -> Table:
    table = new_table()
    table.add_column("cell", overflow="fold")
    for heading in ("done", "running", "waiting", "failed", "best val IoU"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cell, name in zip(cells, short_names(cells), strict=True):
        counts, best = cell.trials, "" if cell.best_val_iou is None else f"{cell.best_val_iou:.3f}"
        others = (counts.running, counts.waiting, counts.failed)
        table.add_row(name, f"{counts.done}/{counts.planned}", *(str(count or "") for count in others), best)
    return table


def _running_table(running: Sequence[RunningTask]) -> Table:
    table = new_table()
    table.add_column("running", overflow="fold")
    for heading in ("epoch", "val IoU", "images/s", "trained"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("on", overflow="fold")
    for task in running[:RUNNING_SHOWN]:
        value = "" if task.val_iou is None else f"{task.val_iou:.3f}"
        speed = "" if task.images_per_second is None else f"{task.images_per_second:.0f}"
        place = " ".join(filter(None, (task.machine, task.device)))
        table.add_row(task.name, _epoch(task), value, speed, readable_seconds(task.seconds), place)
    if len(running) > RUNNING_SHOWN:
        table.add_row(f"and {len(running) - RUNNING_SHOWN} more")
    return table


def _epoch(task: RunningTask) -> str:
    return f"{task.epoch}/{task.epochs}" if task.epochs else str(task.epoch)


def _place(task: RunningTask) -> str:
    return f" on {' '.join(filter(None, (task.machine, task.device)))}" if task.machine or task.device else ""


def _failure_lines(failures: Sequence[Failure]) -> Iterator[Line]:
    """Yield each reason for failures once, with its number of occurrences."""
    for failure in failures[:FAILURES_SHOWN]:
        yield Line(f"failed   {failure.count} times: {failure.reason} ({failure.example})", failure)
    if len(failures) > FAILURES_SHOWN:
        yield Line(f"{INDENT}and for {len(failures) - FAILURES_SHOWN} more reasons", len(failures))
