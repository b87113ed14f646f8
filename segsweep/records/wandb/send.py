"""One attempt to send a study's records: a process that ends at the first error; another process continues.

Every attempt starts a new W&B client, so that no data of a failed attempt arrives late. Run as `python -m
segsweep.records.wandb.send STUDY`; with `--follow` it follows the records until its standard input ends.
"""

import os
import select
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from segsweep.errors import UserError
from segsweep.records.lines import read_study
from segsweep.records.plan_status import CHOICES, PLAN, PlanStatus
from segsweep.records.wandb.client import most_runs
from segsweep.records.wandb.destination import Destination
from segsweep.records.wandb.mirror import Mirror
from segsweep.records.wandb.names import summary_run
from segsweep.records.wandb.options import FOLDER, MirrorOptions
from segsweep.records.wandb.state import DONE, ENOUGH, LOCK, REFUSED, TROUBLE, read_state, write_state
from segsweep.records.wandb.study_run import StudyRun
from segsweep.records.wandb.tail import Item, RecordTail

POLL_SECONDS = 2.0
WAITS = 2  # failed attempts at a source during which items that depend on it are sent after it


class EnoughError(Exception):
    """This attempt has sent the largest number of runs for one process."""


class Sender:
    """Follows a study's records and mirrors them."""

    def __init__(self, folder: Path, options: MirrorOptions) -> None:
        self.folder, self.study = folder, read_study(folder)
        name, before = self.study["name"], read_state(folder)
        destination = Destination.of(options, folder / FOLDER)
        known = destination.known(name, self.study.get("records_id", ""))
        self.mirror = Mirror(destination, name, self.study["store"], options, known)
        self.study_run = StudyRun(destination, folder, options.images, known.get(summary_run(name)), before.get("url"))
        self.tail = RecordTail(folder)
        self.statuses: dict[str, str] = {}
        self.sent: set[str] = set()
        self.newly = 0  # number of items that this attempt completed
        self._before = before.get("sent", 0)  # number completed by earlier attempts; this attempt counts them again
        self._failed: Counter[str] = Counter(before.get("failed", {}))
        self._most = most_runs()
        self._plan_status = PlanStatus({}, None, frozenset())
        self._plan_times: tuple[int, ...] | None = None  # modification times of the files of the plan status; None: not read yet

    def look(self) -> None:
        """Send new items. Items that failed before, and items that depend on them, follow after all others."""
        self._read_plan_status()
        later: list[Item] = []
        for item in self.tail.look():
            if item.table.planned:
                self.statuses[item.identity] = item.row["status"]
            if self._failures(item):
                later.append(item)
            else:
                self._send(item)
        for item in sorted(later, key=lambda item: (self._failures(item), item.rank)):
            self._send(item)
        self.study_run.count(Counter(self.statuses.values()))
        self.report()

    def report(self, **more: Any) -> None:
        """Write the progress to the state file."""
        far = {
            "sent": max(self._before, len(self.sent)),
            "newly": self.newly,
            "url": self.study_run.url,
            "failed": dict(self._failed),
        }
        write_state(self.folder, pid=os.getpid(), **{**far, **more})

    def end(self) -> None:
        """Send the final state after the study has ended."""
        self.mirror.close()
        self.mirror.update_plan_status(PlanStatus.read(self.folder), final=True)
        self.study_run.end(read_study(self.folder))

    def _failures(self, item: Item) -> int:
        """Return how often an item, or its source, has failed to be sent. After `WAITS` failures the source no longer counts."""
        source = self._failed[item.source or ""]
        return max(self._failed[item.identity], source if source <= WAITS else 0)

    def _send(self, item: Item) -> None:
        self._failed[item.identity] += 1
        self.newly += self.mirror.send(item, self._plan_status)
        del self._failed[item.identity]
        if item.ended:
            self.sent.add(item.identity)
            if len(self.sent) % 10 == 0:
                self.report()
        if self.newly >= self._most:
            raise EnoughError

    def _read_plan_status(self) -> None:
        """Read the plan and the choices if they have changed, and update runs that were sent."""
        files = [self.folder / name for name in (PLAN, CHOICES)]
        times = tuple(path.stat().st_mtime_ns for path in files if path.is_file())
        if times != self._plan_times:
            self._plan_status, self._plan_times = PlanStatus.read(self.folder), times
            self.mirror.update_plan_status(self._plan_status)


def transfer(sender: Sender, follow: bool = False) -> None:
    """Send a study's records; with `follow`, also those written until standard input ends."""
    if follow:
        sender.study_run.begin(sender.study)
    sender.look()
    while follow:
        follow = not select.select([sys.stdin], [], [], POLL_SECONDS)[0]
        sender.look()
    sender.end()


def attempt(folder: Path, follow: bool) -> int:
    """Try to send a study's records, and return the exit code of this process. Errors are written to the state file."""
    report: Callable[..., None] = partial(write_state, folder, newly=0, pid=os.getpid())
    try:
        sender = Sender(folder, MirrorOptions.saved(folder))
        report = sender.report
        transfer(sender, follow)
    except EnoughError:
        report()
        return ENOUGH
    except UserError as error:
        report(trouble=str(error))
        return REFUSED
    except Exception as error:  # W&B's client raises exceptions of many types
        traceback.print_exc()
        report(trouble=f"{type(error).__name__}: {error}".splitlines()[0])
        return TROUBLE
    report(done=True, sent=len(sender.sent))
    return DONE


if __name__ == "__main__":
    with FileLock(Path(sys.argv[1]) / FOLDER / LOCK):  # the mirror of an earlier command may still be sending
        code = attempt(Path(sys.argv[1]), follow="--follow" in sys.argv[2:])
        sys.stderr.flush()
        os._exit(code)  # at once: W&B's client would keep retrying; the parent process kills its children
