"""The progress of a study's mirror, in a file beside W&B's, and the exit codes of an attempt."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segsweep.records.lines import replace_text
from segsweep.records.wandb.options import FOLDER

DONE, REFUSED, TROUBLE, ENOUGH = 0, 2, 75, 76  # exit codes of an attempt; ENOUGH: another attempt must send the rest
STATE, LOG, LOCK = "state.json", "mirror.log", "mirror.lock"  # in a study's folder of W&B


def read_state(study: Path) -> Mapping[str, Any]:
    """Return the progress of the mirror; empty if there is none or the file is damaged.

    Its keys: `sent` (number of complete items), `newly` (those of the last attempt), `pid`, `url`, `failed` (failures by item)
    and, after the end, `done` or the `trouble` as text.
    """
    path = study / FOLDER / STATE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):  # damaged: W&B alone knows what has arrived
        return {}


def write_state(study: Path, **values: Any) -> None:
    """Update values of the mirror's progress; the outcome of the last attempt is removed."""
    kept = {name: value for name, value in read_state(study).items() if name not in ("done", "trouble")}
    replace_text(study / FOLDER / STATE, json.dumps({**kept, **values}))
