"""Downloads: complete or absent, resumable, and one line for a failure."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer, file_server

from segsweep import fetching
from segsweep.fetching import FetchError, fetch_file, reachable

CONTENT = np.random.default_rng(0).bytes(3_000_000)
CHECKSUM = ("sha256", hashlib.sha256(CONTENT).hexdigest()[:8])


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server with one file."""
    with file_server({"/file": CONTENT}) as served:
        yield served


def ignore(done: int, total: int) -> None:
    """Ignore progress."""


def test_an_interrupted_download_resumes(server: FileServer, tmp_path: Path) -> None:
    """An interrupted download resumes at its byte, in the same call or a later one; only a complete file gets its name."""
    server.cuts["/file"] = [1_000_000, 2_000_000, 2_500_000]
    path, seen = tmp_path / "below" / "file", []
    with pytest.raises(FetchError, match=r"/file: the connection ended after 2500000 of 3000000 bytes"):
        fetch_file(f"{server.address}/file", path, CHECKSUM, ignore)
    assert not path.exists()
    fetch_file(f"{server.address}/file", path, CHECKSUM, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked] == [None, "bytes=1000000-", "bytes=2000000-", "bytes=2500000-"]
    assert seen[-1] == (3_000_000, 3_000_000)
    assert [each.name for each in path.parent.iterdir()] == ["file"]
    fetch_file(f"{server.address}/file", path, CHECKSUM, ignore)
    assert len(server.asked) == 4  # existing files are not requested


@pytest.mark.parametrize("left", [b"x" * 1000, CONTENT[:-1] + b"x", CONTENT + b"x"])
def test_a_partial_of_another_file_is_discarded(server: FileServer, tmp_path: Path, left: bytes) -> None:
    """A partial file with bytes of another file fails the checksum, and the file is downloaded from the start."""
    (tmp_path / "file.partial").write_bytes(left)
    fetch_file(f"{server.address}/file", tmp_path / "file", CHECKSUM, ignore)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_another_content_is_refused(server: FileServer, tmp_path: Path) -> None:
    """A file with another checksum raises one line, and leaves nothing behind."""
    server.files["/file"] = b"changed"
    with pytest.raises(FetchError, match="/file: the sha256 of the file differs from the published one; the file was removed"):
        fetch_file(f"{server.address}/file", tmp_path / "file", CHECKSUM, ignore)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/file", "Connection refused"),
        ("http://no-such-host.invalid/file", "Name or service not known|name resolution|nodename"),
        ("{server}/other", "HTTP Error 404"),
    ],
)
def test_a_failure_names_the_url_and_the_reason(server: FileServer, tmp_path: Path, url: str, reason: str) -> None:
    """Without a network, or if the host lacks the file, one line names the URL and the reason without a wait."""
    with pytest.raises(FetchError, match=reason) as caught:
        fetch_file(url.format(server=server.address), tmp_path / "file", None, ignore)
    assert str(caught.value).startswith("http://")
    assert "\n" not in str(caught.value)


def test_a_host_is_reached_directly_or_by_a_proxy(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`reachable` connects to the host's port, or to that of the proxy in the environment."""
    monkeypatch.setattr(fetching, "getproxies", dict)
    assert reachable(f"{server.address}/file")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert not reachable(closed)
        monkeypatch.setattr(fetching, "getproxies", lambda: {"http": server.address})
        assert reachable(closed)
