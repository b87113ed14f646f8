"""The table of task kinds. A new kind needs a file and a row here."""

from segsweep.errors import unknown
from segsweep.tasks.kind import Kind
from segsweep.tasks.score_task import SCORE, SCORE_KIND
from segsweep.tasks.stage_task import STAGE, STAGE_KIND
from segsweep.tasks.trial_task import TRIAL, TRIAL_KIND

KINDS: dict[str, Kind] = {TRIAL: TRIAL_KIND, STAGE: STAGE_KIND, SCORE: SCORE_KIND}


def kind_of(name: str) -> Kind:
    """Return the row of a kind. Raises `UserError` for a kind that this version does not know."""
    if name not in KINDS:
        raise unknown("kind of task", name, list(KINDS))
    return KINDS[name]
