"""Downloads that can be broken off at any moment: a file gets its name once it is whole."""

import hashlib
import os
import socket
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, getproxies, urlopen

PARTIAL = ".partial"  # at the end of the name of a file that is not whole
CHUNK_BYTES = 1 << 20
SECONDS = 30.0  # without a byte
REACH_SECONDS = 3.0
TRIES = 3
OUT_OF_RANGE = 416
PARTIAL_CONTENT = 206

Progress = Callable[[int, int], None]  # bytes that are there, bytes in all (0: unknown)


class FetchError(Exception):
    """A file cannot be fetched: one line that names it, its host and the reason."""


def fetch_file(url: str, path: Path, checksum: tuple[str, str] | None, progress: Progress) -> None:
    """Download a file unless it is there, and go on where an earlier download was broken off.

    `checksum` is the name of an algorithm and how the hexadecimal digest begins. Raises `FetchError`.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    for left in reversed(range(TRIES)):
        resumed = partial.is_file()
        try:
            _download(url, partial, progress)
        except (OSError, HTTPException) as error:
            if left and _may_pass(error):
                continue
            raise FetchError(f"{url}: {reason_of(error)}") from None
        if checksum is None or _digest(partial, checksum[0]).startswith(checksum[1]):
            partial.replace(path)
            return
        partial.unlink()
        if not resumed:
            raise FetchError(f"{url}: the file has another {checksum[0]} than the published one, and was removed")
    raise FetchError(f"{url}: broken off {TRIES} times; the same command continues")


def _download(url: str, partial: Path, progress: Progress) -> None:
    """Append to a file what it lacks of a URL. Raises `OSError` or `HTTPException` where the connection ends before that."""
    have = partial.stat().st_size if partial.is_file() else 0
    try:
        answer = urlopen(Request(url, headers={"Range": f"bytes={have}-"} if have else {}), timeout=SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == OUT_OF_RANGE and have:
            return  # all is there
        raise
    with answer:
        have = have if answer.status == PARTIAL_CONTENT else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length is not None else 0
        with partial.open("ab" if have else "wb") as file:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
            file.flush()
            os.fsync(file.fileno())
    if have < total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")


def _may_pass(error: Exception) -> bool:
    """Return whether another try may succeed: not where the host says no, or is not found."""
    refused = isinstance(error, HTTPError) and error.code < 500
    return not refused and not isinstance(getattr(error, "reason", None), socket.gaierror | ConnectionRefusedError)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def reason_of(error: BaseException) -> str:
    """Return why a download failed, in one line that names no error's class where its text suffices."""
    found = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    return " ".join(str(found).split()) or type(found).__name__


def reachable(url: str) -> bool:
    """Return whether the host of a URL, or the proxy that leads there, takes connections."""
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy is not None:
        parts = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=REACH_SECONDS):
            return True
    except OSError:
        return False
