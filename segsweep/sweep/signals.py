"""Requests to end a run: Ctrl-C (INT), a kill (TERM), a lost terminal (HUP), or the loss of its Ray cluster."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BY_USER = "interrupted by the user"


class Interruption:
    """Holds the request to end the current run: `reason` is None until there is one.

    A request raises `KeyboardInterrupt` in the main thread. With `ends_process`, as in a command, only the first request does:
    later ones must not interrupt the clean exit, whose duration `cli/ending.py` limits. `detail` is the reason if the request is
    not a signal, else empty.
    """

    def __init__(self, ends_process: bool = False) -> None:
        self.ends_process = ends_process
        self.reason: str | None = None
        self.detail = ""
        self.after: list[Callable[[], Any]] = []
        self._deferred = self._raised = False

    def request(self, reason: str) -> None:
        """Request the end, from any thread."""
        if self.reason is None:
            self.reason = self.detail = reason
            if self.ends_process or not self._deferred:
                self._wake()

    def raise_if_asked(self) -> None:
        """Raise `KeyboardInterrupt` if the end was requested."""
        if self.reason is not None:
            self._raised = True
            raise KeyboardInterrupt(self.reason)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within this context, a request only sets `reason`; for code that calls `raise_if_asked` between its steps."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def insist(self) -> None:
        """Interrupt the current step despite a deferred request, because the step takes long or hangs."""
        if self._deferred:
            self._deferred = False
            self._wake()

    def after_last_line(self, action: Callable[[], Any]) -> None:
        """Run a slow action: immediately, or after the last line is printed if a command is ending."""
        if self.reason is None or not self.ends_process:
            action()
        else:
            self.after.append(action)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals within this context. Signals that the process ignores, such as HUP under nohup, stay ignored."""
        before = {number: signal.getsignal(number) for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN}
        for number in before:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        first = self.reason is None
        if self.reason is None:
            self.reason = BY_USER if number == signal.SIGINT else f"interrupted by {signal.Signals(number).name}"
        if (self._deferred and (first or self.ends_process)) or (self._raised and self.ends_process):
            return
        self._raised = True
        raise KeyboardInterrupt(self.reason)

    def _wake(self) -> None:
        """Run the handler in the main thread, even if that waits in a system call."""
        handled = [number for number in SIGNALS if signal.getsignal(number) == self._handle]
        if handled:
            signal.pthread_kill(threading.main_thread().ident or 0, handled[0])


_current: Interruption | None = None


def interruption() -> Interruption:
    """Return the interruption of the current command or run; outside of both, one that nothing requests."""
    return _current or Interruption()


@contextmanager
def interruptible(ends_process: bool = False) -> Iterator[Interruption]:
    """Yield the interruption of the code in this context, which handles signals. Within a command it is the command's.

    Outside the main thread Python allows no signal handler, so only `request` can end the run.
    """
    global _current
    if _current is not None:
        yield _current
        return
    _current = Interruption(ends_process)
    try:
        if threading.current_thread() is threading.main_thread():
            with _current.listening():
                yield _current
        else:
            yield _current
    finally:
        _current = None
