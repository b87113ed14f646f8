"""Sources: where initial weights come from, as a chain of stages written `imagenet+simclr:cats_dogs`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from segsweep.errors import UserError

PLAIN_KINDS = ("random", "imagenet", "coco-weights")
SELF_SUPERVISED: Mapping[
    str, str
] = {  # kind -> the module that trains an encoder so: `segsweep.training.self_supervised_method.Method`
    "simclr": "segsweep.training.simclr",
}
DATASET_KINDS = ("supervised", *SELF_SUPERVISED)
STAGE_FORMS = ("random", "imagenet[:WEIGHTS]", "coco-weights", "file:PATH", *(f"{kind}:DATASET[@N]" for kind in DATASET_KINDS))
ENCODER_KINDS = ("imagenet", *SELF_SUPERVISED)  # these give an encoder alone; the others a whole model


@dataclass(frozen=True)
class Stage:
    """One link of a source.

    `kind` is the word before the colon; `name` the data set, the file, or which of the published ImageNet weights (None for
    the usual ones); `limit` the number of images that a data set is cut to.
    """

    kind: str
    name: str | None = None
    limit: int | None = None

    def __str__(self) -> str:
        name = "" if self.name is None else f":{self.name}"
        return f"{self.kind}{name}" + ("" if self.limit is None else f"@{self.limit}")

    @classmethod
    def parse(cls, text: str) -> "Stage":
        """Return the stage that a text names. Raises `UserError` for any other text."""
        kind, colon, name = text.partition(":")
        name = "" if re.search(r"^\s|\s$|\n", name) else name
        if kind in PLAIN_KINDS and not colon:
            return cls(kind)
        if kind == "file" and name:
            return cls(kind, name)
        if kind == "imagenet" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            return cls(kind, name)
        if kind in DATASET_KINDS and name:
            name, at, limit = name.rpartition("@") if re.search(r"@[^/@]*$", name) else (name, "", "")
            if name and (not at or re.fullmatch(r"[1-9][0-9]*", limit)):
                return cls(kind, name, int(limit) if at else None)
        raise UserError(f"source: {text!r} is no stage; a stage is one of {', '.join(STAGE_FORMS)}, and + joins stages")


@dataclass(frozen=True)
class Source:
    """A chain of stages, applied from left to right. `random` is the empty chain."""

    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.stages)) or "random"

    @classmethod
    def parse(cls, text: str) -> "Source":
        """Return the source that a text names.

        Published weights, files and `random` can only begin a chain; `random+supervised:voc2012` is `supervised:voc2012`.
        Raises `UserError` for a text that is no source.
        """
        stages = tuple(Stage.parse(part) for part in text.split("+"))
        for later in stages[1:]:
            if later.kind not in DATASET_KINDS:
                raise UserError(f"source: {text!r}: {later} gives initial weights, so it can only begin a chain")
        return cls(tuple(stage for stage in stages if stage.kind != "random"))

    @property
    def encoder_only(self) -> bool:
        """Whether the chain ends with weights for an encoder alone."""
        return bool(self.stages) and self.stages[-1].kind in ENCODER_KINDS
