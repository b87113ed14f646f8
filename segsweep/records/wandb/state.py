"""How far a study's mirror has come: a file beside W&B's own, and how an attempt to send ends."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segsweep.records.lines import replace_text
from segsweep.records.wandb.options import FOLDER

DONE, REFUSED, TROUBLE, ENOUGH = 0, 2, 75, 76  # exit codes of an attempt; ENOUGH: another is to send the rest
STATE, LOG, LOCK = "state.json", "mirror.log", "mirror.lock"  # in a study's folder of W&B


def read_state(study: Path) -> Mapping[str, Any]:
    """Return how far the mirror has come: how many items are `sent`, how many of them `newly` by the last attempt, its `pid` and
    `url`, how often items have `failed`; and once it has ended, `done`, or what the `trouble` was."""
    path = study / FOLDER / STATE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):  # damaged: what has arrived only W&B knows anyway
        return {}


def write_state(study: Path, **values: Any) -> None:
    """Keep how far the mirror has come; other values stay, except how the last attempt ended."""
    kept = {name: value for name, value in read_state(study).items() if name not in ("done", "trouble")}
    replace_text(study / FOLDER / STATE, json.dumps({**kept, **values}))
