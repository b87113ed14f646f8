"""Whether a study's driver is alive, as seen from this machine."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

from segsweep.records.driver_lock import driver_alive
from segsweep.records.driver_status import DriverStatus, read_driver_status

WATCH_SECONDS = 20.0  # longest silence of a live driver, which writes its status every 5 s
LOOK_SECONDS = 0.5


class DriverWatch:
    """Observes over repeated looks whether the driver of a study is alive.

    A driver holds a lock while it writes records. Without the lock it may still be starting or ending, and some network file
    systems do not show locks of other machines; it then counts as alive while it writes its status. Clocks of two machines are
    never compared: for a driver on another machine, this object measures the time since the last change that it saw.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._now = folder, now
        self._seen: tuple[int, int, float] | None = None
        self._changed_at: float | None = None  # None: no change seen yet
        self._began_at = now()

    def alive(self, status: DriverStatus | None) -> bool | None:
        """Return whether the driver that wrote a status is alive; None while that is unknown."""
        self._note(status)
        if driver_alive(self._folder):
            return True
        if status is None or not status.goes_on:
            return False
        if status.host == socket.gethostname():
            return Path(f"/proc/{status.pid}").exists() and time.time() - status.updated_at < WATCH_SECONDS
        now = self._now()
        if self._changed_at is not None and now - self._changed_at < WATCH_SECONDS:
            return True
        return None if now - self._began_at < WATCH_SECONDS else False

    def _note(self, status: DriverStatus | None) -> None:
        """Record the time at which the status changed."""
        if status is None:
            return
        seen = (status.pid, status.revision, status.started_at)
        if self._seen not in (None, seen):
            self._changed_at = self._now()
        self._seen = seen

    def wait(self, watched: Callable[[DriverStatus], None] = lambda _: None) -> tuple[DriverStatus | None, bool]:
        """Return the driver's status and whether it is alive, once known; call `watched` before a longer wait."""
        status = read_driver_status(self._folder)
        if (alive := self.alive(status)) is None and status is not None:
            watched(status)
        while alive is None:
            time.sleep(LOOK_SECONDS)
            status = read_driver_status(self._folder)
            alive = self.alive(status)
        return status, alive
