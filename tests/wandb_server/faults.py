"""What a test can make the server do wrong while it runs: `server.fault = Slow(2.0)`, `server.fault = None`."""

import threading
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Slow:
    """Every request is answered, this much later."""

    seconds: float


@dataclass(frozen=True)
class Refuse:
    """Every request is answered with this HTTP status."""

    status: int = 503


@dataclass(frozen=True)
class RateLimit:
    """Every request is answered with status 429 and the wish to wait."""

    retry_after_seconds: int = 1


@dataclass(frozen=True)
class Silent:
    """Connections are accepted and requests read, but never answered; they end when the fault does."""


@dataclass(frozen=True)
class LoseAnswer:
    """Requests take effect, but the connection ends before the answer: the client cannot know."""


@dataclass(frozen=True)
class Down:
    """The port is closed and open connections end; it stays reserved, so that the server comes back on it."""


Fault = Slow | Refuse | RateLimit | Silent | LoseAnswer | Down


@dataclass(frozen=True)
class When:
    """A fault of some requests only: of those whose kind begins with `kind`, not the first `after`, and at most `times`."""

    fault: Fault
    kind: str = ""
    after: int = 0
    times: int | None = None


FILE_UPLOADS: Final = "PUT storage/"


class Switch:
    """The fault that is on, and how many requests of its kind came since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._seen = 0
        self.fault: Fault | When | None = None

    def turn(self, fault: Fault | When | None) -> None:
        """Switch a fault on or off; requests that the former one holds back go on."""
        with self._lock:
            self._over.set()
            self._over, self._seen, self.fault = threading.Event(), 0, fault

    def meet(self, kind: str) -> tuple[Fault | None, threading.Event]:
        """Return the fault that a request of this kind meets, and the event that the fault is over."""
        with self._lock:
            rule = self.fault if isinstance(self.fault, When) else When(self.fault) if self.fault else None
            if rule is None or not kind.startswith(rule.kind):
                return None, self._over
            self._seen += 1
            last = self._seen if rule.times is None else rule.after + rule.times
            return (rule.fault if rule.after < self._seen <= last else None), self._over
