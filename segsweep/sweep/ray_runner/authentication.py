"""Ray's authentication token: created for a cluster that segsweep starts, looked up for a running cluster.

Ray reads the token from RAY_AUTH_TOKEN, or from the file that RAY_AUTH_TOKEN_PATH names, or from ~/.ray/auth_token.
RAY_AUTH_MODE (`token` or `disabled`) sets whether it is used. With RAY_USE_TLS, the head is contacted over TLS.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc  # type: ignore[import-untyped]  # part of ray[default]
from ray._common.tls_utils import load_certs_from_env
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # Cython
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc

from segsweep.errors import UserError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
MODES = ("token", "disabled")
TLS, TLS_FILES = "RAY_USE_TLS", ("RAY_TLS_CA_CERT", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY")
SET_BY_RAY = ("PYTHONBREAKPOINT", "RAY_USAGE_STATS_ENABLED")  # variables that `ray.init` sets and does not restore
ANSWER_SECONDS = 10.0  # time limit of the head's answer; a busy head takes a second


def token_for_start() -> dict[str, str]:
    """Return the environment variables with which a Ray cluster started by this process requires a token.

    The token is the user's if RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH provides one, otherwise a new one that is not written to a
    file. The result is empty if the user has set RAY_AUTH_MODE=disabled. Raises `UserError` for an unknown mode, which Ray would
    treat as `disabled`, and for a RAY_AUTH_TOKEN_PATH without a token.
    """
    if _mode() == "disabled":
        return {}
    if os.environ.get(TOKEN) or (os.environ.get(TOKEN_PATH) and _token() is not None):
        return {MODE: "token"}
    return {MODE: "token", TOKEN: secrets.token_hex(32)}


def token_for(address: str) -> dict[str, str]:
    """Return the environment variables with which a driver attaches to the cluster with its head at `address` (HOST:PORT).

    Raises `UserError` if the cluster requires a token and this process has none, a wrong one, or RAY_AUTH_MODE=disabled; and if
    RAY_AUTH_MODE=token is set but the cluster requires no token.
    """
    mode, cluster = _mode(), f"Ray cluster {address}"
    if lets_in(address):
        if mode == "token":
            raise UserError(
                f"{cluster}: requires no token, so everyone who can reach it has access, but {MODE}=token is set; "
                f"start its head with {MODE}=token, or unset {MODE}"
            )
        return {}
    if mode == "disabled":
        raise UserError(f"{cluster}: requires a token, but {MODE}=disabled is set; export {MODE}=token")
    token = _token()
    if token is None:
        raise UserError(
            f"{cluster}: requires a token, but there is none in {TOKEN}, in the file that {TOKEN_PATH} names, or in "
            "~/.ray/auth_token; `ray get-auth-token` on the head prints it"
        )
    if not lets_in(address, token):
        raise UserError(
            f"{cluster}: rejects the token from {token_source()}; `ray get-auth-token` on the head prints the right one"
        )
    return {MODE: "token"}


def lets_in(address: str, token: str | None = None) -> bool:
    """Return whether the head of a cluster accepts this token (None: no token). Raises `UserError` if it is not a Ray head."""
    metadata = [("authorization", f"Bearer {token}")] if token is not None else None
    with _channel(address) as channel:
        ask = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel).GetClusterId  # type: ignore[no-untyped-call]
        try:
            request = gcs_service_pb2.GetClusterIdRequest()  # type: ignore[attr-defined]  # generated code
            ask(request, timeout=ANSWER_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                return False
            raise UserError(
                f"Ray cluster {address}: the process that answers there is not a Ray head ({error.code().name}); give the "
                "HOST:PORT that `ray start --head` prints (by default port 6379, not the port of the dashboard), and set "
                "RAY_USE_TLS as on the head"
            ) from None
    return True


def tls_credentials() -> grpc.ChannelCredentials | None:
    """Return the TLS certificates of Ray's processes; None if RAY_USE_TLS is off.

    Raises `UserError` if a certificate is not named or cannot be read.
    """
    asked = os.environ.get(TLS, "0")
    if asked.lower() not in ("1", "true"):
        return None
    try:
        certificate, key, authority = load_certs_from_env()  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError) as error:
        problem = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else "needs files that are not named"
        raise UserError(f"{TLS}={asked}: {problem}; export {', '.join(TLS_FILES)}, files in PEM, or unset {TLS}") from None
    return grpc.ssl_channel_credentials(authority, key, certificate)


def token_source() -> str:
    """Return the place from which Ray reads this user's token: a variable, a variable with its file, or a file."""
    if os.environ.get(TOKEN):
        return TOKEN
    if named := os.environ.get(TOKEN_PATH):
        return f"{TOKEN_PATH}={named}"
    return "~/.ray/auth_token"


def token_file_remark() -> str | None:
    """Return a warning if other users of this machine can read the file with this user's token; otherwise None."""
    if os.environ.get(TOKEN):
        return None
    path = Path(os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token")
    try:
        rights = path.stat().st_mode & 0o777
    except OSError:
        return None
    if not rights & 0o077:
        return None
    return f"{path}: other users of this machine can read the Ray cluster's token (mode {rights:o}); run chmod 600 {path}"


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for Ray within this context; afterwards restore them and the variables that Ray itself sets.

    Ray's caches of these variables are cleared at both ends.
    """
    before = {name: os.environ.get(name) for name in (*values, *SET_BY_RAY)}
    os.environ.update(values)
    _read_again()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _read_again()


def _channel(address: str) -> grpc.Channel:
    credentials, options = tls_credentials(), [("grpc.enable_http_proxy", 0)]
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)


def _mode() -> str | None:
    mode = os.environ.get(MODE)
    if mode is not None and mode.lower() not in MODES:
        raise UserError(f"{MODE}={mode}: unknown mode, which Ray treats as disabled; known: {', '.join(MODES)}")
    return None if mode is None else mode.lower()


def _token() -> str | None:
    """Return this user's token, None if there is none. Raises `UserError` if RAY_AUTH_TOKEN_PATH has no token."""
    loader = AuthenticationTokenLoader.instance()
    loader.reset_cache()
    try:
        has_token: bool = loader.has_token(ignore_auth_mode=True)
        token: str | None = loader.get_raw_token(ignore_auth_mode=True) if has_token else None
    except Exception as error:  # Ray raises no narrower exception
        raise UserError(f"{token_source()}: cannot be read, or is empty: {str(error).split('. ')[0]}") from None
    return token


def _read_again() -> None:
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
