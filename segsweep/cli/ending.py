"""The end of a command on request: print its last line and exit, by force if the main thread does not respond.

Records are complete at any moment, so a forced exit loses no more than `kill -9`: the running epochs.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from segsweep.errors import INTERRUPTED
from segsweep.sweep.signals import SIGNALS, Interruption, interruptible

ONE_REQUEST_SECONDS = 1.0  # signals within this time are one request: `timeout` and a closing terminal send two
SPEAK_SECONDS = 2.5  # the last line is printed by then at the latest: `ray job stop` kills with -9 after 3 s
LEAVE_SECONDS = 10.0  # the process is ended by force after this time
STUCK_SECONDS = 1.0  # time limit of printing the last line when the terminal hangs
OVER = 255  # written to the pipe when the command has ended; not the number of a signal


class Ending:
    """Prints a command's last line once, and ends its process.

    `last_line` prints the line for a detail of the request; it is called from any thread.
    """

    def __init__(self, interruption: Interruption, last_line: Callable[[str], None]) -> None:
        self._interruption, self._last_line = interruption, last_line
        self._speaking = threading.Lock()

    def leave(self, error: BaseException) -> None:
        """Print the last line, run the deferred actions, and end the process. Return if `error` has another cause."""
        asked = self._interruption.reason is not None
        if not asked and not isinstance(error, KeyboardInterrupt):
            return
        self._speak()
        if not asked:
            sys.exit(INTERRUPTED)
        for action in self._interruption.after:
            action()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)  # a normal exit of the interpreter takes seconds with torch and Ray loaded

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within this context, ensure that a request ends the process even if the main thread hangs. Call in the main thread."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # is written even while the main thread runs C code
        watch = threading.Thread(target=self._watch, args=[read], name="ending", daemon=True)
        watch.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.write(write, bytes([OVER]))
            watch.join()
            os.close(read)
            os.close(write)

    def _watch(self, pipe: int) -> None:
        if _next(pipe, None) == OVER:
            return
        start = time.monotonic()
        for seconds, action in ((ONE_REQUEST_SECONDS, self._interruption.insist), (SPEAK_SECONDS, self._speak)):
            if self._is_over(pipe, start, start + seconds):
                return
            action()
        if not self._is_over(pipe, start, start + LEAVE_SECONDS):
            self._end_by_force()

    def _is_over(self, pipe: int, start: float, until: float) -> bool:
        """Wait until a moment, and return whether the command has ended by then. A second request ends the process."""
        while (found := _next(pipe, until)) not in (None, OVER):
            if time.monotonic() - start > ONE_REQUEST_SECONDS:
                self._end_by_force()
        return found == OVER

    def _end_by_force(self) -> None:
        threading.Timer(STUCK_SECONDS, os._exit, [INTERRUPTED]).start()
        self._speak()
        os._exit(INTERRUPTED)

    def _speak(self) -> None:
        if self._speaking.acquire(blocking=False):
            with suppress(OSError, SystemExit):  # the terminal is gone; rich raises SystemExit then
                self._last_line(self._interruption.detail)


def _next(pipe: int, until: float | None) -> int | None:
    """Return the next signal number from a pipe, or `OVER`; None if none arrives until a moment (None: no limit)."""
    while True:
        seconds = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([pipe], [], [], seconds)[0]:
            return None
        if (found := os.read(pipe, 1)[0]) in (*SIGNALS, OVER):
            return found


@contextmanager
def ending(last_line: Callable[[str], None]) -> Iterator[Ending]:
    """Yield the ending of a command, which handles requests to end by signals and by the command's own code."""
    with interruptible(ends_process=True) as interruption:
        end = Ending(interruption, last_line)
        if threading.current_thread() is not threading.main_thread():
            yield end
            return
        with end.watched():
            yield end


def end_at_once(last_line: Callable[[], str]) -> None:
    """Install handlers that print one line and exit at once, for a process that has not begun its work.

    Signals that the process ignores stay ignored.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(sys.stderr.fileno(), f"{last_line()}\n".encode())
        os._exit(INTERRUPTED)

    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)
