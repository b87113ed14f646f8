"""The status of a study's driver: a small file in the study's folder, replaced every few seconds.

All times are seconds since 1970 by the driver's clock.
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
    """A worker with a task: its machine's host name and its device (both None while it starts), and the task's id."""

    machine: str | None
    device: str | None
    task: str


@dataclass(frozen=True)
class DriverStatus:
    """The status that a driver reports of itself and its workers.

    Attributes:
        host: Host name of the driver's machine.
        pid: Process id of the driver.
        command: Command that started it.
        folder: Working directory of that command.
        started_at: Start of the driver.
        updated_at: Time of this status.
        revision: Number of statuses that this driver has written before.
        state: `starting` (checks, data), `running`, `finished`, `interrupted` (Ctrl-C or a signal) or `ended` (an error).
        reason: Reason for the end.
        preparing: Progress of data preparation, as text.
        waiting_for: Fault that all work waits for, as text.
        workers: Number of workers.
        runs_on: Description of the workers.
        busy: Workers with a task.
        trials_per_hour: Speed of the study.
        seconds_left: Predicted remaining time in seconds.
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
        """Whether the driver was alive when it wrote this status."""
        return self.state in GOES_ON

    def write(self, folder: Path) -> None:
        """Replace the status file in a study's folder. Raises `OSError`. A power cut may leave the file empty.

        On a full disk, overwrite the existing file, which needs no space, so that readers see that the study waits for space.
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
    """Return the last status of a study's driver; None if there is none or it cannot be read."""
    try:
        row = parsed((folder / STATUS).read_bytes())
        return _from_row(row)
    except (OSError, ChecksumError, KeyError, TypeError, AttributeError, json.JSONDecodeError):
        return None


def _from_row(row: Mapping[str, Any]) -> DriverStatus:
    """Return a status without fields that only later versions know."""
    known = {each.name: row[each.name] for each in fields(DriverStatus) if each.name in row}
    busy = tuple(WorkerInfo(each["machine"], each["device"], each["task"]) for each in row.get("busy", ()))
    return replace(DriverStatus(**known), busy=busy)
