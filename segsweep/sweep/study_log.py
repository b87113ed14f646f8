"""The log of a study: what its drivers said, start after start, in its folder."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LOG, EARLIER = "log.txt", "log.1.txt"  # in a study's folder
MOST_BYTES = 4 << 20  # of one file: a longer one becomes the earlier one, in place of the one before
MOST_KEPT = 1000  # lines that wait for the folder


class StudyLog:
    """A file to which lines are appended as they are said, each with its time. It can be given to rich as a file.

    Lines wait in memory until `open` says that the folder is the study's, and then go to the operating system at once: the end
    of the process loses none. A file that cannot be written costs lines and nothing else: once it can be, a line says how many.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._most_bytes, self._clock = folder, most_bytes, clock
        self._waiting: list[str] = []
        self._opened = False
        self._lost = 0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Write the lines that wait, and from now on each at once."""
        with self._lock:
            self._opened = True
            for line in self._waiting:
                self._append(line)
            self._waiting.clear()

    def write(self, text: str) -> int:
        """Add some lines, each with the time."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._clock()))
        with self._lock:
            for line in text.splitlines():
                stamped = f"{moment} {line}\n"
                if self._opened:
                    self._append(stamped)
                elif len(self._waiting) < MOST_KEPT:
                    self._waiting.append(stamped)
        return len(text)

    def flush(self) -> None:
        """Do nothing: every line is written at once."""

    def _append(self, line: str) -> None:
        """Append a line, and before it one on those that could not be written."""
        gap = f"{line[:19]} ({self._lost} lines could not be written)\n" if self._lost else ""
        try:
            path = self._folder / LOG
            with suppress(FileNotFoundError):
                if path.stat().st_size + len(line) > self._most_bytes:
                    path.replace(self._folder / EARLIER)
            _append_at_once(path, (gap + line).encode(errors="replace"))
        except OSError:
            self._lost += 1
        else:
            self._lost = 0


def _append_at_once(path: Path, content: bytes) -> None:
    """Append to a file in one write; what only fits in part is taken back. Raises `OSError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        before = os.fstat(descriptor).st_size
        written = os.write(descriptor, content)
        if written < len(content):
            os.ftruncate(descriptor, before)
            raise OSError(f"{path}: {written} of {len(content)} bytes written")
    finally:
        os.close(descriptor)
