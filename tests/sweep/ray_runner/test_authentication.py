"""Ray's token: found, refused, and forgotten again."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from fake_head import fake_head
from ray._raylet import AuthenticationMode, AuthenticationTokenLoader, get_authentication_mode

from segsweep.errors import UserError
from segsweep.sweep.ray_runner.authentication import environment, token_file_remark, token_for, token_for_start


@pytest.fixture(autouse=True)
def _without_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A user who has no token, in a home folder of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield
    AuthenticationTokenLoader.instance().reset_cache()


def write_token(path: Path, token: str, rights: int = 0o600) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(token)
    path.chmod(rights)
    return path


def test_a_start_makes_a_token_that_no_file_holds(tmp_path: Path) -> None:
    """Each start has another token of 256 bits, and nothing is written into the home folder."""
    first, second = token_for_start(), token_for_start()
    assert first["RAY_AUTH_MODE"] == "token"
    assert len(bytes.fromhex(first["RAY_AUTH_TOKEN"])) == 32
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]
    assert list(tmp_path.iterdir()) == []


def test_a_start_uses_the_users_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that the user names is the token of Ray that is started, and RAY_AUTH_MODE=disabled starts Ray without one."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    assert token_for_start() == {"RAY_AUTH_MODE": "token"}
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(write_token(tmp_path / "token", "mine")))
    assert token_for_start() == {"RAY_AUTH_MODE": "token"}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert token_for_start() == {}


def test_settings_that_ray_would_misread_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt mode, which Ray takes as `disabled`, and a file without a token are one line."""
    monkeypatch.setenv("RAY_AUTH_MODE", "tokens")
    with pytest.raises(
        UserError, match="RAY_AUTH_MODE=tokens: unknown mode, which Ray takes as disabled; known: token, disabled"
    ):
        token_for_start()
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match=f"RAY_AUTH_TOKEN_PATH={tmp_path}/none: cannot be read, or is empty"):
        token_for_start()


def test_a_cluster_that_asks_for_a_token_is_attached_to_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        ("right", {}, "asks for a token, and this user has none in RAY_AUTH_TOKEN, .* `ray get-auth-token` on the head"),
        ("right", {"RAY_AUTH_MODE": "token"}, "asks for a token, and this user has none"),
        ("right", {"RAY_AUTH_TOKEN": "wrong"}, "refuses the token of RAY_AUTH_TOKEN; `ray get-auth-token` on the head"),
        (
            "right",
            {"RAY_AUTH_TOKEN": "right", "RAY_AUTH_MODE": "disabled"},
            "RAY_AUTH_MODE=disabled is set; export RAY_AUTH_MODE",
        ),
        (None, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "right"}, "asks for no token, so whoever reaches it gets in"),
    ],
)
def test_a_token_that_does_not_fit_is_one_line(
    asked: str | None, values: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cluster asks for and this process has is said at once, with the remedy; Ray repeats its own error for 20 s."""
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with fake_head(asked) as address, pytest.raises(UserError, match=f"Ray cluster {address}: .*{line}"):
        token_for(address)


def test_an_open_cluster_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster without a token is attached to as Ray does it, also by a user who has one."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    with fake_head() as address:
        assert token_for(address) == {}


def test_what_is_no_head_is_named() -> None:
    """Another server at the address is not waited for: the line says which port is meant."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(UserError, match=r"what answers there is no head of Ray .* by default port 6379"):
            token_for(f"127.0.0.1:{server.server_port}")
        server.shutdown()


def test_a_token_file_that_others_can_read_is_remarked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the file, its rights and the command; a private file and a token in the environment have none."""
    path = write_token(tmp_path / ".ray" / "auth_token", "mine", 0o644)
    assert token_file_remark() == (
        f"{path}: others on this machine can read the token of the Ray cluster (rights 644): chmod 600 {path}"
    )
    path.chmod(0o600)
    assert token_file_remark() is None
    path.chmod(0o640)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "other")
    assert token_file_remark() is None


def test_the_environment_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray sees mode and token inside, and afterwards neither they nor what Ray itself sets are left."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    before = dict(os.environ)
    with environment({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "inside", "GLOO_SOCKET_IFNAME": "lo"}):
        os.environ["PYTHONBREAKPOINT"] = "ray.util.rpdb._driver_set_trace"
        assert get_authentication_mode() == AuthenticationMode.TOKEN
        assert AuthenticationTokenLoader.instance().get_raw_token() == "inside"
    assert dict(os.environ) == before
    assert get_authentication_mode() == AuthenticationMode.DISABLED
    assert not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
