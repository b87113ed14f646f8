"""Check that W&B's client has credentials. Only the client reads the key itself."""

import netrc
import os
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from segsweep.errors import UserError

DEFAULT_SERVER = "https://api.wandb.ai"


def check_key() -> None:
    """Raise `UserError` if no key is set or stored for the server."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return
    server = urlsplit(_base_url())
    for path in filter(None, (os.environ.get("NETRC"), "~/.netrc", "~/_netrc")):
        try:
            keys = netrc.netrc(Path(path).expanduser())
        except (OSError, netrc.NetrcParseError):
            continue
        if keys.authenticators(server.netloc) or keys.authenticators(server.hostname or ""):
            return
    raise UserError(
        f"--wandb online: there is no key for {server.netloc}: run `wandb login`, or set WANDB_API_KEY; "
        "or use --wandb offline, or off"
    )


def _base_url() -> str:
    """Return the server that W&B's client will use: the environment's, or the one that `wandb login --host` has stored."""
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb")
    stored = ConfigParser(interpolation=None)
    with suppress(ConfigParserError):
        stored.read([folder / "settings", Path(os.environ.get("WANDB_DIR", "."), "wandb", "settings")])
    return os.environ.get("WANDB_BASE_URL") or str(stored.get("default", "base_url", fallback=DEFAULT_SERVER))
