"""Ray's token: found, rejected, and removed again."""

import os
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from fake_head import fake_head
from ray._raylet import AuthenticationMode, AuthenticationTokenLoader, get_authentication_mode

from segsweep.errors import UserError
from segsweep.sweep.ray_runner.authentication import environment, token_file_remark, token_for, token_for_start
from segsweep.sweep.ray_runner.local_ray import check_start, ray_on_this_machine

TLS_FILES = ("RAY_TLS_CA_CERT", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY")


@pytest.fixture(autouse=True)
def _without_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Remove the user's token and use an empty home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS", *TLS_FILES):
        monkeypatch.delenv(name, raising=False)
    yield
    AuthenticationTokenLoader.instance().reset_cache()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """The files of a self-signed certificate for this machine, and of its key."""
    if shutil.which("openssl") is None:
        pytest.skip("takes openssl, to make a certificate")
    chain, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=head"
    subject = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", chain, "-keyout", key]
    subprocess.run(["openssl", *request.split(), *subject], check=True, capture_output=True)
    return chain, key


def write_token(path: Path, token: str, rights: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(token)
    path.chmod(rights)
    return path


def test_a_start_makes_a_token_that_is_in_no_file(tmp_path: Path) -> None:
    """Each start has another token of 256 bits, and nothing is written into the home folder."""
    first, second = token_for_start(), token_for_start()
    assert first["RAY_AUTH_MODE"] == "token"
    assert len(bytes.fromhex(first["RAY_AUTH_TOKEN"])) == 32
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]
    assert list(tmp_path.iterdir()) == []


def test_a_start_uses_the_users_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of the user becomes the token of the started Ray; RAY_AUTH_MODE=disabled starts Ray without one."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    assert token_for_start() == {"RAY_AUTH_MODE": "token"}
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(write_token(tmp_path / "token", "mine")))
    assert token_for_start() == {"RAY_AUTH_MODE": "token"}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert token_for_start() == {}


def test_settings_that_ray_would_misread_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt mode, which Ray treats as `disabled`, and a file without a token are one-line errors."""
    monkeypatch.setenv("RAY_AUTH_MODE", "tokens")
    with pytest.raises(
        UserError, match="RAY_AUTH_MODE=tokens: unknown mode, which Ray treats as disabled; known: token, disabled"
    ):
        token_for_start()
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match=f"RAY_AUTH_TOKEN_PATH={tmp_path}/none: cannot be read, or is empty"):
        token_for_start()


def test_the_users_token_is_used_for_a_cluster_that_requires_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is found where Ray looks for it, and the mode is set for the user."""
    with fake_head("right") as address:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
        assert token_for(address) == {"RAY_AUTH_MODE": "token"}
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        write_token(tmp_path / ".ray" / "auth_token", "right")
        assert token_for(address) == {"RAY_AUTH_MODE": "token"}


@pytest.mark.parametrize(
    ("asked", "values", "line"),
    [
        ("right", {}, "requires a token, but there is none in RAY_AUTH_TOKEN, .* `ray get-auth-token` on the head"),
        ("right", {"RAY_AUTH_MODE": "token"}, "requires a token, but there is none"),
        ("right", {"RAY_AUTH_TOKEN": "wrong"}, "rejects the token from RAY_AUTH_TOKEN; `ray get-auth-token` on the head"),
        (
            "right",
            {"RAY_AUTH_TOKEN": "right", "RAY_AUTH_MODE": "disabled"},
            "RAY_AUTH_MODE=disabled is set; export RAY_AUTH_MODE",
        ),
        (
            None,
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "right"},
            "requires no token, so everyone who can reach it has access",
        ),
    ],
)
def test_a_wrong_token_is_one_line(asked: str | None, values: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mismatch between the cluster and this process is reported at once, with the remedy; Ray repeats its own error for 20
    s."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with fake_head(asked) as address, pytest.raises(UserError, match=f"Ray cluster {address}: .*{line}"):
        token_for(address)


def test_an_open_cluster_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster without a token is attached to as Ray does it, even by a user with a token."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    with fake_head() as address:
        assert token_for(address) == {}


@pytest.mark.parametrize("asked", ["1", "True"])
def test_a_cluster_with_tls_is_contacted_over_tls(
    asked: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With RAY_USE_TLS the head is contacted over TLS with Ray's certificates, with and without a token; otherwise it is not
    recognised."""
    chain, key = certificate
    for name, path in zip(TLS_FILES, (chain, chain, key), strict=True):
        monkeypatch.setenv(name, str(path))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
    with fake_head("right", certificate) as closed, fake_head(None, certificate) as opened:
        with pytest.raises(UserError, match=r"not a Ray head .* RAY_USE_TLS as on the head"):
            token_for(opened)
        monkeypatch.setenv("RAY_USE_TLS", asked)
        assert token_for(opened) == {}
        assert token_for(closed) == {"RAY_AUTH_MODE": "token"}
        monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
        with pytest.raises(UserError, match="rejects the token"):
            token_for(closed)


def test_tls_without_its_files_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is not named or is missing is reported at once, also at a start of Ray, which would wait for 60 s."""
    monkeypatch.setenv("RAY_USE_TLS", "1")
    for ask in (lambda: token_for("127.0.0.1:1"), check_start, ray_on_this_machine().__enter__):
        with pytest.raises(UserError, match="RAY_USE_TLS=1: needs files that are not named; export RAY_TLS_CA_CERT, "):
            ask()
    for name in TLS_FILES:
        monkeypatch.setenv(name, str(tmp_path / "none.pem"))
    with pytest.raises(UserError, match=f"RAY_USE_TLS=1: {tmp_path}/none.pem: No such file or directory; export"):
        token_for("127.0.0.1:1")


def test_another_server_at_the_address_is_reported() -> None:
    """Another server at the address is not waited for: the line names the right port."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match=r"the process that answers there is not a Ray head .*by default port 6379"):
            token_for(f"127.0.0.1:{server.server_port}")
        server.shutdown()


def test_a_token_file_that_others_can_read_gives_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the file, its mode and the command; a private file and a token in the environment give none."""
    path = write_token(tmp_path / ".ray" / "auth_token", "mine", 0o644)
    assert token_file_remark() == (
        f"{path}: other users of this machine can read the Ray cluster's token (mode 644); run chmod 600 {path}"
    )
    path.chmod(0o600)
    assert token_file_remark() is None
    path.chmod(0o640)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
    assert token_file_remark() is None


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray sees mode and token inside the context; afterwards neither they nor the variables that Ray sets are left."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    before = dict(os.environ)
    with environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "inside", "GLOO_SOCKET_IFNAME": "lo"}):
        os.environ["PYTHONBREAKPOINT"] = "ray.util.rpdb._driver_set_trace"
        assert get_authentication_mode() == AuthenticationMode.TOKEN
        assert AuthenticationTokenLoader.instance().get_raw_token() == "inside"
    assert dict(os.environ) == before
    assert get_authentication_mode() == AuthenticationMode.DISABLED
    assert not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
