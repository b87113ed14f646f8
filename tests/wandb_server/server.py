"""The server: one port, one store, one account, and the active fault."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from wandb_server.faults import Down, Fault, LoseAnswer, RateLimit, Refuse, Silent, Slow, Switch, When
from wandb_server.notes import Notes
from wandb_server.port import HOST, Port, Reply, Request
from wandb_server.routes import Call, data, route
from wandb_server.site import Site
from wandb_server.store import Store

KEY = "local-" + "0" * 40
USER = "lab"


class WandbServer:
    """A server on loopback that stores its data in a folder; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.notes = Notes()
        self.calls, self.uploads = self.notes.calls, self.notes.uploads
        self._switch = Switch()
        self._turning = threading.Lock()
        self._port = Port(self._answer)
        self.url = f"http://{HOST}:{self._port.number}"
        self._site = Site(self.store, self.url, USER)

    def __enter__(self) -> Self:
        self._port.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._turning:
            self._switch.turn(None)
        self._port.release()
        self.store.close()

    @property
    def fault(self) -> Fault | When | None:
        """The fault that is on."""
        return self._switch.fault

    @fault.setter
    def fault(self, fault: Fault | When | None) -> None:
        with self._turning:
            self._switch.turn(fault)
            if fault == Down():
                self._port.close()
            else:
                self._port.open()

    def environment(self) -> dict[str, str]:
        """Return the environment variables with which a client connects to this server."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ENTITY": USER,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
        }

    def check(self) -> None:
        """Raise AssertionError if a client requested a field that the server does not have, or if a request failed."""
        assert not self.notes.missing, f"the client requested fields that the server lacks: {sorted(self.notes.missing)}"
        assert not self.notes.errors, f"requests that could not be answered: {self.notes.errors}"

    def _answer(self, request: Request) -> Reply | None:
        """Answer a request; errors are recorded and sent to the client."""
        try:
            call = route(self._site, self.notes, KEY, request)
            fault, over = self._switch.meet(call.kind)
            with self.notes.lock:
                self.notes.calls[call.kind] += 1
                if fault:
                    self.notes.faulty[call.kind] += 1
            match fault:
                case Slow(seconds):
                    over.wait(seconds)
                case Silent():
                    over.wait()
                    return None
                case Down():
                    self._go_down(over)
                    return None
            return self._reply(call, fault)
        except Exception as error:
            with self.notes.lock:
                self.notes.errors.append(f"{request.method} {request.address.path}: {type(error).__name__}: {error}")
            return data({"errors": [{"message": f"{type(error).__name__}: {error}"}]}, 400)

    def _go_down(self, over: threading.Event) -> None:
        """Close the port during a request, unless the test has just switched the fault off."""
        with self._turning:
            if not over.is_set():
                self._port.close()

    def _reply(self, call: Call, fault: Fault | None) -> Reply | None:
        """Run a call as far as the fault allows; None ends the connection without a response."""
        match fault:
            case Refuse(status):
                return data({"errors": [{"message": "refused by a fault of the test"}]}, status)
            case RateLimit(seconds):
                return Reply(429, b"", {"Retry-After": str(seconds)})
            case LoseAnswer():
                call.work()
                return None
        return call.work()
