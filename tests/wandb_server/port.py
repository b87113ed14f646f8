"""An HTTP port on loopback that can be closed and reopened while it stays reserved."""

import contextlib
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """A request with its unpacked body."""

    method: str
    address: SplitResult
    authorization: str
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A response to send."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Answering = Callable[[Request], Reply | None]


class Handler(BaseHTTPRequestHandler):
    """Reads the requests of a connection and sends the responses; a missing response ends the connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Write nothing to the console."""

    def answer(self) -> None:
        """Answer one request."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the connection ended early
            self.close_connection = True
            return
        authorization = self.headers.get("Authorization") or ""
        request = Request(self.command, urlsplit(self.path), authorization, body)
        reply = cast(Listener, self.server).answering(request)
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        kind = "application/json" if reply.body[:1] in (b"{", b"[") else "application/octet-stream"
        for name, value in {"Content-Length": str(len(reply.body)), "Content-Type": kind, **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = answer


class Listener(ThreadingTCPServer):
    """A socket bound to a port, which refuses connections until `server_activate`; each connection has a thread."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, answering: Answering) -> None:
        super().__init__((HOST, port), Handler, bind_and_activate=False)
        self.server_bind()
        self.answering = answering
        self.ended = threading.Condition()
        self.connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Record a connection before its thread starts."""
        with self.ended:
            self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Remove a connection when its thread ends."""
        super().shutdown_request(request)
        with self.ended:
            self.connections.discard(request)
            self.ended.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that clients end early; print all other errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def sever(self) -> None:
        """End all connections; their threads then end."""
        with self.ended:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        """Wait until no thread is answering."""
        with self.ended:
            self.ended.wait_for(lambda: not self.connections, timeout=10)


class Port:
    """A port that is open or closed; while it is closed no other process can bind it."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._listener = Listener(0, answering)
        self.number: int = self._listener.server_address[1]
        self._past: list[Listener] = []
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Accept connections."""
        if self._thread is None:
            self._listener.server_activate()
            self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Refuse connections and end the open ones at once; may be called while a request is being answered."""
        if self._thread is not None:
            self._listener.shutdown()
            self._thread.join()
            self._thread = None
            self._listener.server_close()
            self._listener.sever()
            self._past.append(self._listener)
            self._listener = Listener(self.number, self._answering)

    def release(self) -> None:
        """Close the port permanently, once no request is being answered."""
        self.close()
        self._listener.server_close()
        for listener in self._past:
            listener.wait()
