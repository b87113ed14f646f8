"""One attempt to send a study's records: a process that ends at the first trouble, for another to go on.

W&B's client is started anew with every attempt, so that nothing of an attempt that went wrong is sent late. Run as
`python -m segsweep.records.wandb.send STUDY`; it follows the records until its standard input ends.
"""

import json
import os
import select
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from filelock import FileLock

from segsweep.errors import UserError
from segsweep.records.lines import read_study, write_whole
from segsweep.records.marks import CHOICES, PLAN, Marks
from segsweep.records.wandb.follow import Follower, Item
from segsweep.records.wandb.home import Home, Ledger, Server
from segsweep.records.wandb.mirror import Mirror, Wanted
from segsweep.records.wandb.names import summary_run
from segsweep.records.wandb.options import FOLDER, LOCK, STATE, MirrorOptions, read_state
from segsweep.records.wandb.study_run import StudyRun

POLL_SECONDS = 2.0
DONE, TROUBLE, REFUSED = 0, 75, 2  # how the process ends


class Sender:
    """Follows a study's records and mirrors them."""

    def __init__(self, folder: Path, options: MirrorOptions) -> None:
        self.folder, self.study = folder, read_study(folder)
        files = folder / FOLDER
        self.home: Home = Server(options.path) if options.mode == "online" else Ledger(options.path, files)
        store = Path(self.study["store"])
        self.mirror = Mirror(self.home, self.study, files, store, Wanted(options.images, options.weights))
        known = self.mirror.known(summary_run(self.study["name"]))
        self.whole = StudyRun(self.home, folder, files, options.images, known, read_state(folder).get("url"))
        self.follower = Follower(folder)
        self.statuses: dict[str, str] = {}
        self.sent: set[str] = set()
        self._failed: Counter[str] = Counter(read_state(folder).get("failed", {}))
        self._marks: Marks | None = None
        self._marked_at: tuple[float, ...] = ()

    def look(self) -> None:
        """Send what is new. What has failed before is sent after all else."""
        marks = self._read_marks()
        later: list[Item] = []
        for item in self.follower.look():
            if item.table == "trials":
                self.statuses[item.identity] = item.row["status"]
            if self._failed[item.identity]:
                later.append(item)
            else:
                self._send(item, marks)
        for item in sorted(later, key=lambda item: self._failed[item.identity]):
            self._send(item, marks)
        self.whole.count(Counter(self.statuses.values()))
        self.tell()

    def _send(self, item: Item, marks: Marks) -> None:
        self._failed[item.identity] += 1
        self.mirror.send(item, marks)
        del self._failed[item.identity]
        if item.ended:
            self.sent.add(item.identity)
            if len(self.sent) % 10 == 0:
                self.tell()

    def tell(self, trouble: str | None = None, **more: Any) -> None:
        """Write how far this has come, for whoever asks."""
        state = {
            "sent": len(self.sent),
            "pid": os.getpid(),
            "url": self.whole.url,
            "trouble": trouble,
            "failed": dict(self._failed),
        }
        write_whole(self.folder / FOLDER / STATE, json.dumps({**state, **more}))

    def _read_marks(self) -> Marks:
        """Return how trials are marked now, and mark anew what was sent, where that has changed."""
        files = [self.folder / name for name in (PLAN, CHOICES)]
        changed = tuple(path.stat().st_mtime_ns for path in files if path.is_file())
        if self._marks is None or changed != self._marked_at:
            self._marks, self._marked_at = Marks.read(self.folder), changed
            self.mirror.remark(self._marks)
        return self._marks


def transfer(sender: Sender, follow: bool = False) -> None:
    """Send a study's records; while `follow`, also what is written until standard input ends."""
    if follow:
        sender.whole.begin(sender.study)
    sender.look()
    while follow:
        follow = not select.select([sys.stdin], [], [], POLL_SECONDS)[0]
        sender.look()
    sender.mirror.close()
    sender.whole.end(read_study(sender.folder))
    sender.tell(done=True)


def attempt(folder: Path, follow: bool) -> int:
    """Try to send a study's records, and return how the process is to end. What goes wrong is told in the state."""
    sender: Sender | None = None
    try:
        sender = Sender(folder, MirrorOptions.kept(folder))
        transfer(sender, follow)
    except UserError as error:
        _tell_trouble(folder, sender, str(error))
        return REFUSED
    except Exception as error:  # whatever W&B's client raises
        traceback.print_exc()
        _tell_trouble(folder, sender, f"{type(error).__name__}: {error}".splitlines()[0])
        return TROUBLE
    return DONE


def _tell_trouble(folder: Path, sender: Sender | None, trouble: str) -> None:
    if sender is not None:
        sender.tell(trouble)
    else:
        write_whole(folder / FOLDER / STATE, json.dumps({**read_state(folder), "trouble": trouble, "pid": os.getpid()}))


if __name__ == "__main__":
    with FileLock(Path(sys.argv[1]) / FOLDER / LOCK):  # an earlier command's may still be sending
        code = attempt(Path(sys.argv[1]), follow="--follow" in sys.argv[2:])
        sys.stderr.flush()
        os._exit(code)  # at once: W&B's client would go on trying; whoever started this ends what it leaves behind
