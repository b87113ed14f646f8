"""A web server on loopback that supports byte ranges and can end a connection early."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Serves `files` by path.

    `cuts` maps a path to the numbers of bytes after which its connections end, once each; `asked` lists all requests.
    """

    files: dict[str, bytes]
    address: str = ""
    cuts: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def file_server(files: dict[str, bytes]) -> Iterator[FileServer]:
    """Serve files while the context lasts, with responses like those of the Hugging Face hub."""
    served = FileServer(files)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            served.asked.append((self.path, self.headers.get("Range")))
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            content = served.files.get(self.path)
            if content is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            if first >= len(content):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Length", str(len(content) - first))
            self.send_header("ETag", f'"{len(content)}"')
            self.send_header("X-Repo-Commit", self.path.partition("/resolve/")[2].partition("/")[0])
            self.end_headers()
            if body:
                cuts = served.cuts.get(self.path, [])
                self.wfile.write(content[first : cuts.pop(0)] if cuts else content[first:])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
