"""Faults that a test can switch on while the server runs: `server.fault = Slow(2.0)`, `server.fault = None`."""

import threading
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Slow:
    """Every request is answered after a delay, in seconds."""

    seconds: float


@dataclass(frozen=True)
class Refuse:
    """Every request is answered with this HTTP status."""

    status: int = 503


@dataclass(frozen=True)
class RateLimit:
    """Every request is answered with status 429 and a request to wait."""

    retry_after_seconds: int = 1


@dataclass(frozen=True)
class Silent:
    """Connections are accepted and requests read, but never answered; the connections end with the fault."""


@dataclass(frozen=True)
class LoseAnswer:
    """Requests take effect, but the connection ends before the response, so that the client does not know."""


@dataclass(frozen=True)
class Down:
    """The port is closed and open connections end; the port stays reserved, so that the server can come back on it."""


Fault = Slow | Refuse | RateLimit | Silent | LoseAnswer | Down


@dataclass(frozen=True)
class When:
    """A fault of some requests only: those whose kind begins with `kind`, except the first `after`, and at most `times`."""

    fault: Fault
    kind: str = ""
    after: int = 0
    times: int | None = None


FILE_UPLOADS: Final = "PUT storage/"


class Switch:
    """The active fault, and the number of requests of its kind since it was switched on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._seen = 0
        self.fault: Fault | When | None = None

    def turn(self, fault: Fault | When | None) -> None:
        """Switch a fault on or off; requests that the former fault holds back continue."""
        with self._lock:
            self._over.set()
            self._over, self._seen, self.fault = threading.Event(), 0, fault

    def meet(self, kind: str) -> tuple[Fault | None, threading.Event]:
        """Return the fault for a request of this kind, and the event that ends the fault."""
        with self._lock:
            rule = self.fault if isinstance(self.fault, When) else When(self.fault) if self.fault else None
            if rule is None or not kind.startswith(rule.kind):
                return None, self._over
            self._seen += 1
            last = self._seen if rule.times is None else rule.after + rule.times
            return (rule.fault if rule.after < self._seen <= last else None), self._over
