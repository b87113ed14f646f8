"""What a study's mirror is asked to do, kept beside the records so that `segsweep wandb sync` does the same later."""

import json
import netrc
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from segsweep.errors import UserError
from segsweep.records.lines import write_whole

FOLDER = "wandb"  # in a study's folder: W&B's own files, the log, and what is below
OPTIONS, STATE, LOG, LOCK = "options.json", "state.json", "mirror.log", "mirror.lock"
PATIENCE_SECONDS = float(os.environ.get("SEGSWEEP_WANDB_PATIENCE", "60"))  # how long an attempt waits for what it sent to arrive
MODES = ("off", "online", "offline")
DEFAULT_PROJECT = "segsweep"
DEFAULT_SERVER = "https://api.wandb.ai"
OF_ONE_RUN = (
    "RUN_ID",
    "RUN_GROUP",
    "NAME",
    "JOB_TYPE",
    "TAGS",
    "NOTES",
    "RESUME",
    "SWEEP_ID",
    "SWEEP_PARAM_PATH",
    "MODE",
    "DISABLED",
)


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
        if self.project and (len(parts) > 2 or not all(parts)):
            raise UserError(f"--wandb-project {self.project}: write PROJECT or ENTITY/PROJECT")

    @property
    def path(self) -> str:
        """The project, after W&B's environment variables, as `[ENTITY/]PROJECT`."""
        named = self.project or os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT
        entity = os.environ.get("WANDB_ENTITY")
        return f"{entity}/{named}" if entity and "/" not in named else named

    def keep(self, study: Path) -> None:
        """Write the options beside a study's records."""
        (study / FOLDER).mkdir(parents=True, exist_ok=True)
        write_whole(study / FOLDER / OPTIONS, json.dumps(asdict(replace(self, project=self.path))))

    @classmethod
    def kept(cls, study: Path) -> "MirrorOptions":
        """Return the options that were kept, or those of a study that was never mirrored."""
        path = study / FOLDER / OPTIONS
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else cls()


def check_key() -> None:
    """Raise `UserError` where W&B could not know who is sending. The key itself is read by W&B's client alone."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return
    server = urlsplit(os.environ.get("WANDB_BASE_URL", DEFAULT_SERVER)).hostname or ""
    for path in filter(None, (os.environ.get("NETRC"), "~/.netrc", "~/_netrc")):
        try:
            if netrc.netrc(Path(path).expanduser()).authenticators(server):
                return
        except (OSError, netrc.NetrcParseError):
            continue
    raise UserError(
        f"--wandb online: there is no key for {server}: run `wandb login`, or set WANDB_API_KEY; or take --wandb offline, or off"
    )


def environment() -> dict[str, str]:
    """Return this process's environment without what W&B's variables say of a single run."""
    return {name: value for name, value in os.environ.items() if name not in {f"WANDB_{part}" for part in OF_ONE_RUN}}


def read_state(study: Path) -> Mapping[str, Any]:
    """Return how far the mirror has come: `sent` of `ended`, its `pid`, `url`, and what its last `trouble` was."""
    path = study / FOLDER / STATE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
