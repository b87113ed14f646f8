"""Ray's token: chosen for a cluster that segsweep starts, looked up for a cluster that runs.

Ray reads it from RAY_AUTH_TOKEN, else from the file that RAY_AUTH_TOKEN_PATH names, else from ~/.ray/auth_token; RAY_AUTH_MODE
(`token` or `disabled`) says whether it is used. With RAY_USE_TLS the head is asked by TLS.
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
SET_BY_RAY = ("PYTHONBREAKPOINT", "RAY_USAGE_STATS_ENABLED")  # by `ray.init`, and left behind
ANSWER_SECONDS = 10.0  # for the head's answer; a busy one takes a second


def token_for_start() -> dict[str, str]:
    """Return the environment variables with which Ray that is started here asks for a token.

    The token is the user's where RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH names one, else a new one that stands in no file.
    Empty where the user has set RAY_AUTH_MODE=disabled. Raises `UserError` for a mode that Ray would take as `disabled`, and
    for a RAY_AUTH_TOKEN_PATH without a token.
    """
    if _mode() == "disabled":
        return {}
    if os.environ.get(TOKEN) or (os.environ.get(TOKEN_PATH) and _token() is not None):
        return {MODE: "token"}
    return {MODE: "token", TOKEN: secrets.token_hex(32)}


def token_for(address: str) -> dict[str, str]:
    """Return the environment variables with which a driver attaches to the cluster whose head answers at HOST:PORT.

    Raises `UserError` where the cluster asks for a token and this process has none, another one or RAY_AUTH_MODE=disabled,
    and where RAY_AUTH_MODE=token is set but the cluster lets everybody in.
    """
    mode, cluster = _mode(), f"Ray cluster {address}"
    if lets_in(address):
        if mode == "token":
            raise UserError(
                f"{cluster}: asks for no token, so whoever reaches it gets in, but {MODE}=token is set; "
                f"start its head with {MODE}=token, or unset {MODE}"
            )
        return {}
    if mode == "disabled":
        raise UserError(f"{cluster}: asks for a token, but {MODE}=disabled is set; export {MODE}=token")
    token = _token()
    if token is None:
        raise UserError(
            f"{cluster}: asks for a token, and this user has none in {TOKEN}, in the file that {TOKEN_PATH} names or in "
            "~/.ray/auth_token; `ray get-auth-token` on the head prints it"
        )
    if not lets_in(address, token):
        raise UserError(
            f"{cluster}: refuses the token of {token_source()}; `ray get-auth-token` on the head prints the right one"
        )
    return {MODE: "token"}


def lets_in(address: str, token: str | None = None) -> bool:
    """Return whether the head of a cluster answers who has this token, or none. Raises `UserError` where it is no Ray."""
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
                f"Ray cluster {address}: what answers there is no head of Ray ({error.code().name}); give HOST:PORT that "
                "`ray start --head` prints, by default port 6379, not that of the dashboard, with RAY_USE_TLS as on the head"
            ) from None
    return True


def tls_credentials() -> grpc.ChannelCredentials | None:
    """Return the certificates by which Ray's processes know each other, None where RAY_USE_TLS does not ask for them.

    Raises `UserError` where one is not named or cannot be read.
    """
    asked = os.environ.get(TLS, "0")
    if asked.lower() not in ("1", "true"):
        return None
    try:
        certificate, key, authority = load_certs_from_env()  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError) as error:
        problem = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else "asks for files that are not named"
        raise UserError(f"{TLS}={asked}: {problem}; export {', '.join(TLS_FILES)}, files in PEM, or unset {TLS}") from None
    return grpc.ssl_channel_credentials(authority, key, certificate)


def token_source() -> str:
    """Return where Ray reads this user's token: a variable with its file, if any."""
    if os.environ.get(TOKEN):
        return TOKEN
    if named := os.environ.get(TOKEN_PATH):
        return f"{TOKEN_PATH}={named}"
    return "~/.ray/auth_token"


def token_file_remark() -> str | None:
    """Return a line where the file with this user's token can be read by other users of this machine, else None."""
    if os.environ.get(TOKEN):
        return None
    path = Path(os.environ.get(TOKEN_PATH) or Path.home() / ".ray" / "auth_token")
    try:
        rights = path.stat().st_mode & 0o777
    except OSError:
        return None
    if not rights & 0o077:
        return None
    return f"{path}: others on this machine can read the token of the Ray cluster (rights {rights:o}): chmod 600 {path}"


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that Ray reads, and restore them and what Ray sets by itself. Ray reads them anew each time."""
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
        raise UserError(f"{MODE}={mode}: unknown mode, which Ray takes as disabled; known: {', '.join(MODES)}")
    return None if mode is None else mode.lower()


def _token() -> str | None:
    """Return this user's token, None where there is none. Raises `UserError` where RAY_AUTH_TOKEN_PATH names no token."""
    loader = AuthenticationTokenLoader.instance()
    loader.reset_cache()
    try:
        has_token: bool = loader.has_token(ignore_auth_mode=True)
        token: str | None = loader.get_raw_token(ignore_auth_mode=True) if has_token else None
    except Exception as error:  # Ray has no narrower one
        raise UserError(f"{token_source()}: cannot be read, or is empty: {str(error).split('. ')[0]}") from None
    return token


def _read_again() -> None:
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
