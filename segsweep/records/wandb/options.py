"""Options of a study's mirror, stored beside the records so that `segsweep wandb sync` uses the same ones later."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from segsweep.errors import UserError, disk_errors
from segsweep.records.checked import is_checked, parsed
from segsweep.records.damage import MIRROR, DamagedRecordsError
from segsweep.records.lines import write_object

FOLDER = MIRROR.parent.name  # in a study's folder: local files of W&B and of the mirror
MODES = ("off", "online", "offline")
DEFAULT_PROJECT = "segsweep"
FORBIDDEN, LONGEST = "\\#?%:", 128  # limits on a project's name


@dataclass(frozen=True)
class MirrorOptions:
    """Options of the mirror of records in W&B.

    Attributes:
        mode: `off`, `online` or `offline`.
        project: `[ENTITY/]PROJECT`; empty for W&B's environment variables or `segsweep`.
        images: Whether example predictions and figures are sent.
        weights: Whether the weights of stages and confirmed runs are sent.

    Raises:
        UserError: the mode is unknown, or W&B does not allow the project's name.
    """

    mode: str = "off"
    project: str = ""
    images: bool = True
    weights: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"--wandb {self.mode}: allowed are {', '.join(MODES)}")
        parts = self.project.split("/")
        if self.project and (len(parts) > 2 or not all(parts) or set(FORBIDDEN) & set(self.project)):
            raise UserError(f"--wandb-project {self.project}: write PROJECT or ENTITY/PROJECT, without any of {FORBIDDEN}")
        if len(parts[-1]) > LONGEST:
            raise UserError(f"--wandb-project {self.project}: W&B allows at most {LONGEST} characters")

    @property
    def path(self) -> str:
        """The project as `[ENTITY/]PROJECT`, completed from W&B's environment variables."""
        named = self.project or os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT
        entity = os.environ.get("WANDB_ENTITY")
        return f"{entity}/{named}" if entity and "/" not in named else named

    def save(self, study: Path) -> None:
        """Write the options beside a study's records."""
        with disk_errors("--out", study / FOLDER, "make room, or name another --out"):
            (study / FOLDER).mkdir(parents=True, exist_ok=True)
            write_object(study / MIRROR, {"kind": "mirror", **asdict(replace(self, project=self.path))})

    @classmethod
    def saved(cls, study: Path) -> "MirrorOptions":
        """Return the stored options of a study; the defaults if it was never mirrored."""
        path = study / MIRROR
        try:
            content = path.read_bytes()
            stored = parsed(content) if is_checked(content) else json.loads(content)  # of an earlier version
            return cls(**{name: value for name, value in stored.items() if name != "kind"})
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError, AttributeError):
            remedy = "remove it, and give --wandb and --wandb-project again"
            raise DamagedRecordsError(path, "is damaged", remedy) from None


def patience_seconds() -> float:
    """Return how long an attempt waits for sent data to arrive, in seconds.

    Raises `UserError` if `SEGSWEEP_WANDB_PATIENCE` is not a number.
    """
    text = os.environ.get("SEGSWEEP_WANDB_PATIENCE", "60")
    try:
        return float(text)
    except ValueError:
        raise UserError(f"SEGSWEEP_WANDB_PATIENCE={text}: give a number of seconds") from None
