"""The log of a study: the lines that its drivers have printed, over all starts, in the study's folder."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LOG, EARLIER = "log.txt", "log.1.txt"  # in a study's folder
MOST_BYTES = 4 << 20  # size of one file; a full log.txt is renamed to log.1.txt and replaces it
MOST_KEPT = 1000  # lines that wait in memory for the folder


class StudyLog:
    """A log file whose lines are prefixed with the time. It can serve as the file of a rich console.

    Lines wait in memory until `open` is called, because before that the folder may be another driver's. From then on every line
    is written at once, so that none is lost when the process ends. If the file cannot be written, lines are lost; the next line
    that can be written is preceded by their number.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._most_bytes, self._clock = folder, most_bytes, clock
        self._waiting: list[str] = []
        self._opened = False
        self._lost = 0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Write the waiting lines, and from now on every line at once."""
        with self._lock:
            self._opened = True
            for line in self._waiting:
                self._append(line)
            self._waiting.clear()

    def write(self, text: str) -> int:
        """Add the lines of `text`, each with the time; return its length."""
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
        """Append a line; if earlier lines could not be written, append their number before it."""
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
    """Append to a file in one write. Removes a partial write and raises `OSError` if the content does not fit."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        before = os.fstat(descriptor).st_size
        written = os.write(descriptor, content)
        if written < len(content):
            os.ftruncate(descriptor, before)
            raise OSError(f"{path}: {written} of {len(content)} bytes written")
    finally:
        os.close(descriptor)
