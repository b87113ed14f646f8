"""The kinds of stages, one row each. A new kind is a row here and, unless it is self-supervised, a builder in
`segsweep.stage.STAGE_BUILDERS`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from segsweep.config.user_text import USER_TEXT

Argument = Literal["none", "weights", "path", "dataset"]  # what the text of a stage names after the kind

FORMS: Mapping[Argument, str] = {  # how the argument is written
    "none": "",
    "weights": "[:WEIGHTS]",
    "path": ":PATH[@prefix=NAME][@mean=M@std=S]",
    "dataset": ":DATASET[@N]",
}


@dataclass(frozen=True)
class StageKind:
    """One kind of stage.

    `name` is the word in texts, digests and records. `argument` is what a stage of this kind names: published weights, the path
    of a weight file, or a dataset, on which it trains. `encoder_only` says that it gives weights for an encoder alone, not for a
    whole model. `method` is the module of a self-supervised method (`segsweep.training.self_supervised_method.Method`); None for
    all other kinds.
    """

    name: str
    argument: Argument
    encoder_only: bool = False
    method: str | None = None

    @property
    def form(self) -> str:
        """How a stage of this kind is written, as `imagenet[:WEIGHTS]`."""
        return self.name + FORMS[self.argument]

    @property
    def trains(self) -> bool:
        """Whether a stage trains on a dataset. Only such a stage may follow another one in a chain."""
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
    """Return the kind of a name; None for an unknown name. `own:NAME` is a self-supervised method that a study file brings."""
    if USER_TEXT.fullmatch(name):
        return StageKind(name, "dataset", encoder_only=True, method=name)
    return STAGE_KINDS.get(name)


def is_self_supervised(name: str) -> bool:
    """Return whether a name is that of a kind that trains an encoder without labels."""
    kind = stage_kind(name)
    return kind is not None and kind.method is not None


def self_supervised_kinds() -> list[str]:
    """Return the names of the kinds that train an encoder without labels."""
    return [kind.name for kind in STAGE_KINDS.values() if kind.method is not None]
