"""The request to end a run: by Ctrl-C (INT), a kill (TERM), a lost terminal (HUP), or since its Ray cluster has gone."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BY_USER = "interrupted by the user"


class Interruption:
    """The request to end what runs in this process: `reason` is None until there is one.

    A request raises `KeyboardInterrupt` in the main thread. With `ends_process`, as in a command, only the first one does: what
    follows must not break off the clean end, and `cli/ending.py` sees that the process ends in time. `detail` is the reason
    unless that is a signal.
    """

    def __init__(self, ends_process: bool = False) -> None:
        self.ends_process = ends_process
        self.reason: str | None = None
        self.detail = ""
        self.after: list[Callable[[], Any]] = []
        self._deferred = self._raised = False

    def request(self, reason: str) -> None:
        """Ask for the end, from any thread."""
        if self.reason is None:
            self.reason = self.detail = reason
            if self.ends_process or not self._deferred:
                self._wake()

    def raise_if_asked(self) -> None:
        """Raise `KeyboardInterrupt` where the end was asked for."""
        if self.reason is not None:
            self._raised = True
            raise KeyboardInterrupt(self.reason)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Have a request set `reason` alone, for code that calls `raise_if_asked` between its steps."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def insist(self) -> None:
        """Break off a step during which a request was deferred: it takes long, or hangs."""
        if self._deferred:
            self._deferred = False
            self._wake()

    def after_last_line(self, action: Callable[[], Any]) -> None:
        """Run an action that takes long: now, or after the last line where a command is to end."""
        if self.reason is None or not self.ends_process:
            action()
        else:
            self.after.append(action)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals while the context lasts. What is ignored, as HUP under nohup, stays ignored."""
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
        """Have the main thread run the handler, also where it waits in a system call."""
        handled = [number for number in SIGNALS if signal.getsignal(number) == self._handle]
        if handled:
            signal.pthread_kill(threading.main_thread().ident or 0, handled[0])


_current: Interruption | None = None


def interruption() -> Interruption:
    """Return the interruption of the command or run of this process; outside of one, one that nobody asks for."""
    return _current or Interruption()


@contextmanager
def interruptible(ends_process: bool = False) -> Iterator[Interruption]:
    """Yield the interruption of what runs in this context, which takes signals; within a command it is the command's.

    Outside of the main thread, where Python allows no handler, only `request` asks for the end.
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
