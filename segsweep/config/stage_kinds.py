"""The kinds of stages, one row each.

A new kind needs a row here and, unless it is self-supervised, a builder in `segsweep.stage.STAGE_BUILDERS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from segsweep.config.user_text import USER_TEXT

Argument = Literal["none", "weights", "path", "dataset"]  # what the text of a stage names after the colon

FORMS: Mapping[Argument, str] = {  # how the text of a stage writes the argument
    "none": "",
    "weights": "[:WEIGHTS]",
    "path": ":PATH[@prefix=NAME][@mean=M@std=S]",
    "dataset": ":DATASET[@N]",
}


@dataclass(frozen=True)
class StageKind:
    """One kind of stage.

    Attributes:
        name: The word in texts, digests and records.
        argument: What a stage of this kind names: published weights, the path of a weight file, or a dataset to train on.
        encoder_only: Whether it produces weights for an encoder only, not for a whole model.
        method: Module of a self-supervised method (`segsweep.training.self_supervised_method.Method`); None for every other kind.
    """

    name: str
    argument: Argument
    encoder_only: bool = False
    method: str | None = None

    @property
    def form(self) -> str:
        """The notation of a stage of this kind, such as `imagenet[:WEIGHTS]`."""
        return self.name + FORMS[self.argument]

    @property
    def trains(self) -> bool:
        """Whether the stage trains on a dataset. Only such a stage may follow another stage in a chain."""
        return self.argument == "dataset"


STAGE_KINDS: Mapping[str, StageKind] = {
    kind.name: kind
    for kind in (
        StageKind("random", "none"),
        StageKind("imagenet", "weights", encoder_only=True),
        StageKind("coco-weights", "none"),
        StageKind("file", "path"),
        StageKind("supervised", "dataset"),
        StageKind("simclr", "dataset", encoder_only=True, method="segsweep.training.simclr"),
    )
}


def stage_kind(name: str) -> StageKind | None:
    """Return the kind with a name; None for an unknown name. `own:NAME` is a self-supervised method of a study file."""
    if USER_TEXT.fullmatch(name):
        return StageKind(name, "dataset", encoder_only=True, method=name)
    return STAGE_KINDS.get(name)


def is_self_supervised(name: str) -> bool:
    """Return whether a name belongs to a kind that trains an encoder without labels."""
    kind = stage_kind(name)
    return kind is not None and kind.method is not None


def self_supervised_kinds() -> list[str]:
    """Return the names of the kinds that train an encoder without labels."""
    return [kind.name for kind in STAGE_KINDS.values() if kind.method is not None]
