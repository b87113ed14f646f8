"""Resumable downloads: a file gets its final name when it is complete."""

import hashlib
import os
import socket
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, getproxies, urlopen

PARTIAL = ".partial"  # suffix of an incomplete file
CHUNK_BYTES = 1 << 20
SECONDS = 30.0  # timeout without a byte
REACH_SECONDS = 3.0
TRIES = 3
OUT_OF_RANGE = 416
PARTIAL_CONTENT = 206

Progress = Callable[[int, int], None]  # bytes received, bytes in total (0: unknown)


class FetchError(Exception):
    """A download failed. The message is one line with the URL and the reason."""


def fetch_file(url: str, path: Path, checksum: tuple[str, str] | None, progress: Progress) -> None:
    """Download a file unless it exists, and resume an interrupted download.

    Args:
        url: Address of the file.
        path: Where to write it.
        checksum: Name of a hash algorithm and the first hexadecimal digits of the digest; None for no check.
        progress: Called after every chunk with the bytes received and the bytes in total (0 if unknown).

    Raises:
        FetchError: the download fails three times, or the checksum differs.
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
            if left and _is_transient(error):
                continue
            raise FetchError(f"{url}: {reason_of(error)}") from None
        if checksum is None or _digest(partial, checksum[0]).startswith(checksum[1]):
            partial.replace(path)
            return
        partial.unlink()
        if not resumed:
            raise FetchError(f"{url}: the {checksum[0]} of the file differs from the published one; the file was removed")
    raise FetchError(f"{url}: interrupted {TRIES} times; run the same command again to continue")


def _download(url: str, partial: Path, progress: Progress) -> None:
    """Append the missing bytes of a URL to a file. Raises `OSError` or `HTTPException` if the connection ends early."""
    have = partial.stat().st_size if partial.is_file() else 0
    try:
        answer = urlopen(Request(url, headers={"Range": f"bytes={have}-"} if have else {}), timeout=SECONDS)
    except HTTPError as error:
        error.close()
        if error.code == OUT_OF_RANGE and have:
            return  # the file is complete
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


def _is_transient(error: Exception) -> bool:
    """Return whether a retry may succeed: False if the host refused the request or is unknown."""
    refused = isinstance(error, HTTPError) and error.code < 500
    return not refused and not isinstance(getattr(error, "reason", None), socket.gaierror | ConnectionRefusedError)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def reason_of(error: BaseException) -> str:
    """Return the reason of a failed download in one line, without the exception's class if its text suffices."""
    found = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    return " ".join(str(found).split()) or type(found).__name__


def reachable(url: str) -> bool:
    """Return whether the host of a URL, or the proxy for it, accepts connections."""
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
