"""What a study's mirror is asked to do, kept beside the records so that `segsweep wandb sync` does the same later."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from segsweep.errors import UserError, disk_errors
from segsweep.records.checked import is_checked, parsed
from segsweep.records.damage import MIRROR, DamagedRecordsError
from segsweep.records.lines import write_object

FOLDER = MIRROR.parent.name  # in a study's folder: W&B's own files, and those of the mirror
MODES = ("off", "online", "offline")
DEFAULT_PROJECT = "segsweep"
FORBIDDEN, LONGEST = "\\#?%:", 128  # in a project's name


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
            write_object(study / MIRROR, {"kind": "mirror", **asdict(replace(self, project=self.path))})

    @classmethod
    def kept(cls, study: Path) -> "MirrorOptions":
        """Return the options that were kept, or those of a study that was never mirrored."""
        path = study / MIRROR
        try:
            content = path.read_bytes()
            kept = parsed(content) if is_checked(content) else json.loads(content)  # of earlier versions
            return cls(**{name: value for name, value in kept.items() if name != "kind"})
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError, AttributeError):
            remedy = "remove it, and say again with --wandb and --wandb-project what is sent"
            raise DamagedRecordsError(path, "is damaged", remedy) from None


def patience_seconds() -> float:
    """Return how long an attempt waits for what it has sent to arrive. Raises `UserError` for what is no number of seconds."""
    text = os.environ.get("SEGSWEEP_WANDB_PATIENCE", "60")
    try:
        return float(text)
    except ValueError:
        raise UserError(f"SEGSWEEP_WANDB_PATIENCE={text}: give a number of seconds") from None
