"""Downloads: whole or not there, resumed where they were broken off, and one line where they fail."""

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
    """A server that has one file."""
    with file_server({"/file": CONTENT}) as served:
        yield served


def ignore(done: int, total: int) -> None:
    """Drop progress."""


def test_a_broken_download_goes_on_where_it_was(server: FileServer, tmp_path: Path) -> None:
    """A connection that ends early is taken up at its byte, in the same call or a later one; only the whole file has its name."""
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
    assert len(server.asked) == 4  # what is there is not asked for


@pytest.mark.parametrize("left", [b"x" * 1000, CONTENT[:-1] + b"x", CONTENT + b"x"])
def test_what_was_left_by_another_download_is_not_taken_for_the_file(server: FileServer, tmp_path: Path, left: bytes) -> None:
    """Bytes of another file that lie there as partial are found by the checksum, and the file is fetched anew."""
    (tmp_path / "file.partial").write_bytes(left)
    fetch_file(f"{server.address}/file", tmp_path / "file", CHECKSUM, ignore)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_another_content_is_refused(server: FileServer, tmp_path: Path) -> None:
    """A file with another checksum is one line, and leaves nothing behind."""
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
    """Without a network, and where the host does not have the file, one line says what and why, without waiting."""
    with pytest.raises(FetchError, match=reason) as caught:
        fetch_file(url.format(server=server.address), tmp_path / "file", None, ignore)
    assert str(caught.value).startswith("http://")
    assert "\n" not in str(caught.value)


def test_a_host_is_reached_directly_or_by_a_proxy(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`reachable` asks the host's port, or that of the proxy which the environment names."""
    monkeypatch.setattr(fetching, "getproxies", dict)
    assert reachable(f"{server.address}/file")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert not reachable(closed)
        monkeypatch.setattr(fetching, "getproxies", lambda: {"http": server.address})
        assert reachable(closed)
