"""One attempt to send a study's records: a process that ends at the first trouble, for another to go on.

W&B's client is started anew with every attempt, so that nothing of an attempt that went wrong is sent late. Run as
`python -m segsweep.records.wandb.send STUDY`; with `--follow` it follows the records until its standard input ends.
"""

import os
import resource
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
from segsweep.records.wandb.destination import Destination, Ledger, Server
from segsweep.records.wandb.mirror import Mirror, Wanted
from segsweep.records.wandb.names import summary_run
from segsweep.records.wandb.options import DONE, ENOUGH, FOLDER, LOCK, REFUSED, TROUBLE, MirrorOptions, read_state, write_state
from segsweep.records.wandb.study_run import StudyRun
from segsweep.records.wandb.tail import Item, RecordTail

POLL_SECONDS = 2.0
WAITS = 2  # attempts for which what began from a source is held back until that has arrived
MOST_RUNS, FILES_A_RUN, MOST_FILES = 500, 10, 8192  # W&B's client keeps some connections open for each run that it has sent


class EnoughError(Exception):
    """This attempt has sent as many runs as one should."""


class Sender:
    """Follows a study's records and mirrors them."""

    def __init__(self, folder: Path, options: MirrorOptions) -> None:
        self.folder, self.study = folder, read_study(folder)
        files = folder / FOLDER
        self.destination: Destination = Server(options.path) if options.mode == "online" else Ledger(options.path, files)
        self.mirror = Mirror(self.destination, self.study, files, self.study["store"], Wanted(options.images, options.weights))
        known = self.mirror.known(summary_run(self.study["name"]))
        self.whole = StudyRun(self.destination, folder, files, options.images, known, read_state(folder).get("url"))
        self.tail = RecordTail(folder)
        self.statuses: dict[str, str] = {}
        self.sent: set[str] = set()
        self._before = read_state(folder).get("sent", 0)  # by earlier attempts, which this one goes through again
        self.newly = 0  # how many items have arrived whole in this attempt
        self._most = _most_runs()
        self._failed: Counter[str] = Counter(read_state(folder).get("failed", {}))
        self._plan_status: PlanStatus | None = None
        self._marked_at: tuple[float, ...] = ()

    def look(self) -> None:
        """Send what is new. What has failed before, and what began from it, is sent after all else."""
        plan_status = self._read_plan_status()
        later: list[Item] = []
        for item in self.tail.look():
            if item.table.planned:
                self.statuses[item.identity] = item.row["status"]
            if self._failures(item):
                later.append(item)
            else:
                self._send(item, plan_status)
        for item in sorted(later, key=lambda item: (self._failures(item), item.rank)):
            self._send(item, plan_status)
        self.whole.count(Counter(self.statuses.values()))
        self.tell()

    def tell(self, **more: Any) -> None:
        """Write how far this has come, for whoever asks."""
        far = {
            "sent": max(self._before, len(self.sent)),
            "newly": self.newly,
            "url": self.whole.url,
            "failed": dict(self._failed),
        }
        write_state(self.folder, pid=os.getpid(), **{**far, **more})

    def end(self) -> None:
        """Send what there is to send once no more is written."""
        self.mirror.close()
        self.mirror.remark(PlanStatus.read(self.folder), final=True)
        self.whole.end(read_study(self.folder))

    def _failures(self, item: Item) -> int:
        """Return how often an item failed, or its source, for which it does not wait for ever."""
        source = self._failed[item.source or ""]
        return max(self._failed[item.identity], source if source <= WAITS else 0)

    def _send(self, item: Item, plan_status: PlanStatus) -> None:
        self._failed[item.identity] += 1
        self.newly += self.mirror.send(item, plan_status)
        del self._failed[item.identity]
        if item.ended:
            self.sent.add(item.identity)
            if len(self.sent) % 10 == 0:
                self.tell()
        if self.newly >= self._most:
            raise EnoughError

    def _read_plan_status(self) -> PlanStatus:
        """Return how trials are marked now, and mark anew what was sent, where that has changed."""
        files = [self.folder / name for name in (PLAN, CHOICES)]
        changed = tuple(path.stat().st_mtime_ns for path in files if path.is_file())
        if self._plan_status is None or changed != self._marked_at:
            self._plan_status, self._marked_at = PlanStatus.read(self.folder), changed
            self.mirror.remark(self._plan_status)
        return self._plan_status


def transfer(sender: Sender, follow: bool = False) -> None:
    """Send a study's records; while `follow`, also what is written until standard input ends."""
    if follow:
        sender.whole.begin(sender.study)
    sender.look()
    while follow:
        follow = not select.select([sys.stdin], [], [], POLL_SECONDS)[0]
        sender.look()
    sender.end()


def attempt(folder: Path, follow: bool) -> int:
    """Try to send a study's records, and return how the process is to end. What goes wrong is told in the state."""
    tell: Callable[..., None] = partial(write_state, folder, newly=0, pid=os.getpid())
    try:
        sender = Sender(folder, MirrorOptions.kept(folder))
        tell = sender.tell
        transfer(sender, follow)
    except EnoughError:
        tell()
        return ENOUGH
    except UserError as error:
        tell(trouble=str(error))
        return REFUSED
    except Exception as error:  # whatever W&B's client raises
        traceback.print_exc()
        tell(trouble=f"{type(error).__name__}: {error}".splitlines()[0])
        return TROUBLE
    tell(done=True, sent=len(sender.sent))
    return DONE


def _most_runs() -> int:
    """Return after how many runs an attempt ends, as files may be open at once; as many as are allowed are asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MOST_FILES:
        soft = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_RUNS if soft == resource.RLIM_INFINITY else min(MOST_RUNS, soft // FILES_A_RUN)


if __name__ == "__main__":
    with FileLock(Path(sys.argv[1]) / FOLDER / LOCK):  # an earlier command's may still be sending
        code = attempt(Path(sys.argv[1]), follow="--follow" in sys.argv[2:])
        sys.stderr.flush()
        os._exit(code)  # at once: W&B's client would go on trying; whoever started this ends what it leaves behind
