"""Sources: the origin of initial weights, a chain of stages written like `imagenet+simclr:cats_dogs`.

Characters of a path that would split the text are escaped as in URLs: `+` as `%2B`, `@` as `%40`, `,` as `%2C` (and a `%` before
such digits as `%25`).
"""

import re
from dataclasses import dataclass

from segsweep.config.normalisation import Normalisation, Triple
from segsweep.config.stage_kinds import STAGE_KINDS, Argument, StageKind, stage_kind
from segsweep.config.user_text import PREFIX
from segsweep.errors import UserError

PATH_HINT = "in a path write + as %2B, @ as %40 and , as %2C, or give an object: File('PATH'), Supervised('folder:PATH')"
ESCAPE = re.compile("%(2B|40|2C|25)", re.IGNORECASE)
OPTION = re.compile("@(prefix|mean|std)=")  # option of a file
LIMIT = re.compile(r"@[^/@]*$")  # number of images of a dataset


@dataclass(frozen=True)
class Stage:
    """One link of a source.

    Attributes:
        kind: A key of `STAGE_KINDS`, or `own:NAME` for a method that the study file passes.
        name: Dataset, path of the file, or published weights (None for the default weights). Read it through `dataset`, `path` or
            `weights`.
        limit: Number of images that the dataset is limited to; None for all.
        prefix: For a file, the prefix of the names of the weights to read; None for all.
        normalisation: For a file, the input normalisation that its weights expect; None if the study does not state it.
    """

    kind: str
    name: str | None = None
    limit: int | None = None
    prefix: str | None = None
    normalisation: Normalisation | None = None

    def __str__(self) -> str:
        name = "" if self.name is None else f":{self._written()}"
        limit = "" if self.limit is None else f"@{self.limit}"
        return f"{self.kind}{name}{limit}" + "".join(f"@{option}={value}" for option, value in self.options.items())

    def _written(self) -> str:
        """Return the name with the characters escaped that `parse` would read as separators."""
        assert self.name is not None
        text = ESCAPE.sub(lambda found: f"%25{found[1]}", self.name).replace("+", "%2B")
        divides = OPTION.search(text) if self.path is not None else self.limit is None and LIMIT.search(text)
        return text.replace("@", "%40") if divides else text

    @property
    def dataset(self) -> str | None:
        """The name of the dataset that the stage trains on; None if the stage does not train."""
        return self.name if self._argument == "dataset" else None

    @property
    def path(self) -> str | None:
        """The path of the weight file; None for every other kind of stage."""
        return self.name if self._argument == "path" else None

    @property
    def weights(self) -> str | None:
        """The name of the published weights; None for the default weights and for every other kind of stage."""
        return self.name if self._argument == "weights" else None

    @property
    def trains(self) -> bool:
        """Whether the stage trains on a dataset."""
        return self._kind.trains

    @property
    def self_supervised(self) -> bool:
        """Whether the stage trains an encoder without labels."""
        return self._kind.method is not None

    @property
    def supervised(self) -> bool:
        """Whether the stage trains a whole model on the dataset's masks."""
        return self.trains and not self.self_supervised

    @property
    def encoder_only(self) -> bool:
        """Whether the stage produces weights for an encoder only."""
        return self._kind.encoder_only

    @property
    def _argument(self) -> Argument:
        return self._kind.argument

    @property
    def _kind(self) -> StageKind:
        kind = stage_kind(self.kind)
        assert kind is not None, self.kind
        return kind

    @property
    def options(self) -> dict[str, str]:
        """The prefix, mean and std that a study states for a file, as texts."""
        prefix = {} if self.prefix is None else {"prefix": self.prefix}
        if self.normalisation is None:
            return prefix
        return {**prefix, "mean": _text(self.normalisation.mean), "std": _text(self.normalisation.std)}

    @classmethod
    def parse(cls, text: str) -> "Stage":
        """Return the stage that a text names. Raises `UserError`, which lists the forms, for any other text."""
        kind, colon, name = text.partition(":")
        if f"{kind}{colon}" == PREFIX:  # a study file's method: own:NAME:DATASET
            own, colon, name = name.partition(":")
            kind = PREFIX + own
        name = "" if re.search(r"^\s|\s$|\n", name) else name
        known = stage_kind(kind)
        argument = known.argument if known else None
        if argument in ("none", "weights") and not colon:
            return cls(kind)
        if argument == "weights" and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            return cls(kind, name)
        if argument == "path" and name:
            return _file(kind, name)
        if argument == "dataset" and name:
            name, at, limit = name.rpartition("@") if LIMIT.search(name) else (name, "", "")
            if name and (not at or re.fullmatch(r"[1-9][0-9]*", limit)):
                return cls(kind, _unescaped(name), int(limit) if at else None)
        forms = ", ".join(each.form for each in STAGE_KINDS.values())
        raise UserError(f"source: {text!r} is not a stage; a stage is one of {forms}, and + joins stages; {PATH_HINT}")


def _unescaped(text: str) -> str:
    return ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def _text(values: Triple) -> str:
    return ":".join(map(repr, values if len(set(values)) > 1 else values[:1]))


def _file(kind: str, text: str) -> Stage:
    """Return the stage of a weight file with its options, such as `vit.pth@prefix=teacher@mean=0.5@std=0.5`."""
    match = re.fullmatch(r"(.+?)((?:@(?:prefix|mean|std)=[^@]*)*)", text)
    assert match is not None  # any text that is not empty matches
    options = dict(option.split("=", 1) for option in match[2].split("@")[1:])
    if ("mean" in options) != ("std" in options):
        raise UserError(f"source: file:{text}: give both mean and std, or neither")
    if options.get("prefix") == "":
        raise UserError(f"source: file:{text}: prefix is empty; it must be the beginning of the names of the weights")
    normalisation = None
    if "mean" in options:
        try:
            normalisation = Normalisation.stated(_numbers(options["mean"]), _numbers(options["std"]))
        except ValueError as error:
            raise UserError(f"source: file:{text}: {error}") from None
    return Stage(kind, _unescaped(match[1]), prefix=options.get("prefix"), normalisation=normalisation)


def _numbers(text: str) -> float | list[float]:
    numbers = [float(part) for part in text.split(":")]
    return numbers if len(numbers) > 1 else numbers[0]


@dataclass(frozen=True)
class Source:
    """A chain of stages, applied from left to right. `random` is the empty chain."""

    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        return "+".join(map(str, self.stages)) or "random"

    @classmethod
    def parse(cls, text: str) -> "Source":
        """Return the source that a text names.

        Published weights, files and `random` may only start a chain; `random+supervised:voc2012` is `supervised:voc2012`. Raises
        `UserError` for a text that is not a source.
        """
        stages = tuple(Stage.parse(part) for part in text.split("+"))
        for later in stages[1:]:
            if not later.trains:
                raise UserError(f"source: {text!r}: {later} provides initial weights, so it must be the first stage of a chain")
        return cls(tuple(stage for stage in stages if stage.kind != "random"))

    @property
    def last(self) -> Stage | None:
        """The last stage, whose weights initialise a trial; None for `random`."""
        return self.stages[-1] if self.stages else None

    @property
    def encoder_only(self) -> bool:
        """Whether the last stage of the chain produces weights for an encoder only."""
        return self.last is not None and self.last.encoder_only
