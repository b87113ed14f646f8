"""`segsweep status`: print the progress of a study, once or until it has ended."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segsweep.cli.exits import INCOMPLETE
from segsweep.errors import UserError
from segsweep.records.driver_status import FINISHED, STATUS, DriverStatus
from segsweep.records.find import WANDB, find_study
from segsweep.records.liveness import WATCH_SECONDS, DriverWatch
from segsweep.report.status import StudyStatus, read_status, status_of
from segsweep.report.status_text import news, status_lines

if TYPE_CHECKING:
    from rich.console import Console

LOOK_SECONDS = 2.0  # interval between reads of the status with --follow
LOOK_SHARE = 0.1  # largest share of the time spent on reading: the status of 10,000 trials takes 1.5 CPU seconds
RETRIES = 3  # reads that may fail in a row after the first success
PIPE_WIDTH = 100  # characters per line if the output is not a terminal
PASSING = ("updated_at", "age_seconds", "last_change_at", "seconds_left", "ends_at", "trials_per_hour", "images_per_second")


def show_status(options: argparse.Namespace, console: "Console") -> None:
    """Print a study's status; with `--follow`, until the study has ended. Then exit with 1 unless it is finished."""
    look = _look(options.study, console)
    if not options.follow:
        print(json.dumps(look().as_row()) if options.json else "\n".join(status_lines(look(), _width())))
        return
    if options.json:
        last = _follow_as_json(look)
    elif sys.stdout.isatty():
        last = _follow_on_terminal(look)
    else:
        last = _follow_as_lines(look)
    if last.state != FINISHED:
        sys.exit(INCOMPLETE)


def _look(study: str, console: "Console") -> Callable[[], StudyStatus]:
    """Return a function that reads a study's current status. Raises `UserError` if there is no such study."""
    if study.startswith(WANDB):
        from segsweep.records.reader import load

        return lambda: status_of(load(study))
    folder = _find(study)
    watch = DriverWatch(folder)

    def watched(driver: DriverStatus) -> None:
        console.print(f"checking for up to {WATCH_SECONDS:.0f} s whether the driver on {driver.host} is alive", soft_wrap=True)

    return lambda: read_status(folder, watch, watched)


def _find(study: str) -> Path:
    """Return a study's folder, even if it has no records yet."""
    try:
        return find_study(study)
    except UserError:
        for folder in (Path(study), Path("runs") / study):
            if (folder / STATUS).is_file():
                return folder
        raise


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((PIPE_WIDTH, 40)).columns if sys.stdout.isatty() else PIPE_WIDTH


def _changes(look: Callable[[], StudyStatus]) -> Iterator[StudyStatus]:
    """Yield a study's status every few seconds until the study has ended. Raises an error of the first read at once."""
    failed, first = 0, True
    while True:
        began = time.monotonic()
        try:
            status = look()
        except UserError:  # for example, a shared disk shows another machine's writes late
            failed += 1
            if first or failed > RETRIES:
                raise
        else:
            failed, first = 0, False
            yield status
            if not status.is_live:
                return
        time.sleep(max(LOOK_SECONDS, (time.monotonic() - began) / LOOK_SHARE))


def _follow_as_json(look: Callable[[], StudyStatus]) -> StudyStatus:
    shown: dict[str, Any] = {}
    for status in _changes(look):
        row = status.as_row()
        if (lasting := _lasting(row)) != shown:
            print(json.dumps(row), flush=True)
            shown = lasting
    return status


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a status without values that change with time alone."""
    running = [{**task, "seconds": None, "images_per_second": None} for task in row["running"]]
    return {name: value for name, value in row.items() if name not in PASSING} | {"running": running}


def _follow_as_lines(look: Callable[[], StudyStatus]) -> StudyStatus:
    before: StudyStatus | None = None
    for status in _changes(look):
        for line in news(before, status):
            print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
        before = status
    return status


def _follow_on_terminal(look: Callable[[], StudyStatus]) -> StudyStatus:
    """Redraw the status in place; at the end, print the last status in full."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    page = Console(emoji=False, markup=False, highlight=False)
    with Live(console=page, auto_refresh=False, transient=True) as live:
        for status in _changes(look):
            others = len(status_lines(status, page.width, 0))
            live.update(Text("\n".join(status_lines(status, page.width, page.height - others - 3))), refresh=True)
    print("\n".join(status_lines(status, page.width)))
    return status
