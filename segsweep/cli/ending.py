"""How a command ends that is asked to: its last line, and by force where the main thread does not get there.

Records are whole at any moment, so an end by force loses what a kill with -9 does: the running epochs.
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

ONE_REQUEST_SECONDS = 1.0  # signals within it are one request: `timeout`, and a terminal that is closed, send two
SPEAK_SECONDS = 2.5  # `ray job stop` kills with -9 after 3
LEAVE_SECONDS = 10.0
STUCK_SECONDS = 1.0  # for a last line that the terminal does not take
OVER = 255  # beside the numbers of signals


class Ending:
    """Prints a command's last line once, and ends its process. `last_line` prints from any thread; it gets the detail."""

    def __init__(self, interruption: Interruption, last_line: Callable[[str], None]) -> None:
        self._interruption, self._last_line = interruption, last_line
        self._speaking = threading.Lock()

    def leave(self, error: BaseException) -> None:
        """Print the last line, run what was put off, and end the process; return where an error has another cause."""
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
        os._exit(INTERRUPTED)  # with torch and Ray loaded, the interpreter itself takes seconds to end

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See that a request ends the process, whatever the main thread does. For the main thread."""
        read, write = os.pipe()
        os.set_blocking(write, False)
        before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # written even while the main thread runs C code
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
        """Wait, and return whether the command has ended meanwhile. Another request ends the process."""
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
            with suppress(OSError, SystemExit):  # of a terminal that is gone; rich makes an exit of it
                self._last_line(self._interruption.detail)


def _next(pipe: int, until: float | None) -> int | None:
    """Return the next number of a request in a pipe, or `OVER`; None where there is none by a moment."""
    while True:
        seconds = None if until is None else max(0.0, until - time.monotonic())
        if not select.select([pipe], [], [], seconds)[0]:
            return None
        if (found := os.read(pipe, 1)[0]) in (*SIGNALS, OVER):
            return found


@contextmanager
def ending(last_line: Callable[[str], None]) -> Iterator[Ending]:
    """Yield how a command ends that is asked to, by signals or by what runs in it."""
    with interruptible(ends_process=True) as interruption:
        end = Ending(interruption, last_line)
        if threading.current_thread() is not threading.main_thread():
            yield end
            return
        with end.watched():
            yield end


def end_at_once(last_line: Callable[[], str]) -> None:
    """Have requests end this process with one line, while it has begun nothing. What is ignored stays ignored."""

    def end(_number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(sys.stderr.fileno(), f"{last_line()}\n".encode())
        os._exit(INTERRUPTED)

    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)
