"""What only the driver of a study knows of its progress: one small file in the study's folder, replaced every few seconds.

All times are of the driver's clock, in seconds since 1970.
"""

import errno
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from segsweep.files import replacing
from segsweep.records.checked import ChecksumError, parsed, with_checksum

STATUS = "status.json"  # in a study's folder
STARTING, RUNNING, FINISHED, INTERRUPTED, ENDED = "starting", "running", "finished", "interrupted", "ended"
GOES_ON = (STARTING, RUNNING)
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that has a task: its machine's host name, what it computes on (both None while it starts), and the task's id."""

    machine: str | None
    device: str | None
    task: str


@dataclass(frozen=True)
class DriverStatus:
    """What a driver says of itself and of its workers.

    `state` is `starting` (checks, data), `running`, or how it ended: `finished`, `interrupted` (Ctrl-C or a signal) or `ended`
    (an error), with the `reason`. `host`, `pid`, `command` and `folder` (where the command was given) name the driver.
    `revision` counts the writings of one driver. `preparing` says how far the data is, `waiting_for` what keeps all work from
    going on. `workers` is how many there are, `runs_on` what they are, in words, and `busy` those that have a task.
    """

    host: str
    pid: int
    command: str
    folder: str
    started_at: float
    updated_at: float
    revision: int = 0
    state: str = STARTING
    reason: str | None = None
    preparing: str | None = None
    waiting_for: str | None = None
    workers: int | None = None
    runs_on: str | None = None
    busy: tuple[WorkerInfo, ...] = ()
    trials_per_hour: float | None = None
    seconds_left: float | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the driver lived when it wrote this."""
        return self.state in GOES_ON

    def write(self, folder: Path) -> None:
        """Replace the file in a study's folder. Raises `OSError`. A power cut may leave the file empty.

        On a full disk the file that is there is written over, which needs no space: that all waits for space must be seen.
        """
        content = with_checksum({"kind": "status", **asdict(self)}, indent=1)
        try:
            with replacing(folder / STATUS, durable=False) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            if error.errno not in FULL:
                raise
            with (folder / STATUS).open("r+b") as file:
                file.write(content)
                file.truncate()


def read_driver_status(folder: Path) -> DriverStatus | None:
    """Return what the last driver of a study said; None where it said nothing, or nothing that can be read."""
    try:
        row = parsed((folder / STATUS).read_bytes())
        return _from_row(row)
    except (OSError, ChecksumError, KeyError, TypeError, AttributeError, json.JSONDecodeError):
        return None


def _from_row(row: Mapping[str, Any]) -> DriverStatus:
    """Return a status without the fields that only a later version knows."""
    known = {each.name: row[each.name] for each in fields(DriverStatus) if each.name in row}
    busy = tuple(WorkerInfo(each["machine"], each["device"], each["task"]) for each in row.get("busy", ()))
    return replace(DriverStatus(**known), busy=busy)
