"""What a study's mirror is asked to do, kept beside the records so that `segsweep wandb sync` does the same later."""

import json
import netrc
import os
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from segsweep.errors import UserError, disk_errors
from segsweep.records.checked import is_checked, parsed
from segsweep.records.damage import DamagedRecordsError
from segsweep.records.lines import replace_text, write_object

FOLDER = "wandb"  # in a study's folder: W&B's own files, the log, and what is below
DONE, REFUSED, TROUBLE, ENOUGH = 0, 2, 75, 76  # how an attempt to send ends: its exit code
OPTIONS, STATE, LOG, LOCK = "options.json", "state.json", "mirror.log", "mirror.lock"
MODES = ("off", "online", "offline")
DEFAULT_PROJECT = "segsweep"
DEFAULT_SERVER = "https://api.wandb.ai"
FORBIDDEN, LONGEST = "\\#?%:", 128  # in a project's name
OF_ONE_RUN = {f"WANDB_{name}" for name in ("RUN_ID", "RUN_GROUP", "NAME", "JOB_TYPE", "TAGS", "NOTES", "RESUME", "SWEEP_ID")}
NOT_PASSED_ON = OF_ONE_RUN | {"WANDB_SWEEP_PARAM_PATH", "WANDB_MODE", "WANDB_DISABLED", "WANDB_SERVICE"}


@dataclass(frozen=True)
class MirrorOptions:
    """How records are mirrored: `mode` off, online or offline; `project` as `[ENTITY/]PROJECT`, empty for W&B's environment
    variables or `segsweep`; whether example predictions and figures (`images`) and the weights of stages and confirmed runs
    (`weights`) are sent."""

    mode: str = "off"
    project: str = ""
    images: bool = True
    weights: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"--wandb {self.mode}: choose one of {', '.join(MODES)}")
        parts = self.project.split("/")
        if self.project and (len(parts) > 2 or not all(parts) or set(FORBIDDEN) & set(self.project)):
            raise UserError(f"--wandb-project {self.project}: write PROJECT or ENTITY/PROJECT, without any of {FORBIDDEN}")
        if len(parts[-1]) > LONGEST:
            raise UserError(f"--wandb-project {self.project}: W&B takes at most {LONGEST} characters")

    @property
    def path(self) -> str:
        """The project, after W&B's environment variables, as `[ENTITY/]PROJECT`."""
        named = self.project or os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT
        entity = os.environ.get("WANDB_ENTITY")
        return f"{entity}/{named}" if entity and "/" not in named else named

    def keep(self, study: Path) -> None:
        """Write the options beside a study's records."""
        with disk_errors("--out", study / FOLDER, "make room, or name another --out"):
            (study / FOLDER).mkdir(parents=True, exist_ok=True)
            write_object(study / FOLDER / OPTIONS, {"kind": "mirror", **asdict(replace(self, project=self.path))})

    @classmethod
    def kept(cls, study: Path) -> "MirrorOptions":
        """Return the options that were kept, or those of a study that was never mirrored."""
        path = study / FOLDER / OPTIONS
        try:
            content = path.read_bytes()
            kept = parsed(content) if is_checked(content) else json.loads(content)  # of earlier versions
            return cls(**{name: value for name, value in kept.items() if name != "kind"})
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError, AttributeError):
            remedy = "remove it, and say again with --wandb and --wandb-project what is sent"
            raise DamagedRecordsError(path, "is damaged", remedy) from None


def check_key() -> None:
    """Raise `UserError` where W&B could not know who is sending. The key itself is read by W&B's client alone."""
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
        "or take --wandb offline, or off"
    )


def _base_url() -> str:
    """Return the server that W&B's client will talk to: the environment's, or the one that `wandb login --host` has kept."""
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb")
    kept = ConfigParser(interpolation=None)
    with suppress(ConfigParserError):
        kept.read([folder / "settings", Path(os.environ.get("WANDB_DIR", "."), "wandb", "settings")])
    return os.environ.get("WANDB_BASE_URL") or str(kept.get("default", "base_url", fallback=DEFAULT_SERVER))


def patience_seconds() -> float:
    """Return how long an attempt waits for what it has sent to arrive. Raises `UserError` for what is no number of seconds."""
    text = os.environ.get("SEGSWEEP_WANDB_PATIENCE", "60")
    try:
        return float(text)
    except ValueError:
        raise UserError(f"SEGSWEEP_WANDB_PATIENCE={text}: give a number of seconds") from None


def environment() -> dict[str, str]:
    """Return this process's environment without what W&B's variables say of one run, or of a client that runs already."""
    return {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}


def read_state(study: Path) -> Mapping[str, Any]:
    """Return how far the mirror has come: how many items are `sent`, how many of them `newly` by the last attempt, its `pid` and
    `url`, how often items have `failed`; and once it has ended, `done`, or what the `trouble` was."""
    path = study / FOLDER / STATE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):  # damaged: what has arrived only W&B knows anyway
        return {}


def write_state(study: Path, **values: Any) -> None:
    """Keep how far the mirror has come; what is not given stays, but for how the last attempt ended."""
    kept = {name: value for name, value in read_state(study).items() if name not in ("done", "trouble")}
    replace_text(study / FOLDER / STATE, json.dumps({**kept, **values}))
