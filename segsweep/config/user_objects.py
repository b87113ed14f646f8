"""A user's own things: a dataset, an architecture or a loss that a study file brings as an object where a name would stand.

In settings and records such a thing goes by the text `own:NAME` (`own:NAME.v2` for its second version). The objects
themselves travel with the study to the processes that need them, which `register` them. A fingerprint tells apart what was
computed with different code under one name. It is taken when the study is declared: each study, and each of its trials and
stages, has its fingerprints, whatever other studies the process knows.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from segsweep.config.digest import digest
from segsweep.config.normalisation import Normalisation, Stated
from segsweep.config.plain import plain
from segsweep.config.source import Stage
from segsweep.config.source_text import class_code, code_of
from segsweep.config.stage_kinds import self_supervised_kinds
from segsweep.config.user_text import NAME_PATTERN, PREFIX
from segsweep.errors import UserError, unknown


def _check(name: object, version: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise UserError(f"name={name!r}: must be letters, digits, '_' and '-'")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UserError(f"{name}: version={version!r}: must be a whole number >= 1")


@dataclass(frozen=True)
class Architecture:
    """A user's own architecture.

    `build(classes)` returns a `torch.nn.Module` from images (B, 3, H, W), normalised floats, to logits (B, classes, H, W); with
    `output=sigmoid` it is asked for one. `encoder` and `classifier` are how the names of its parameters begin in its encoder and
    in its last classifier (`"encoder."`, `"head.out."`); `levels` how they begin in each level of the encoder from input to
    output (`stages` is its former name), needed for `encoder:K`, `layer_decay` and gradual unfreezing alone. Heights and widths
    must be multiples of `stride_px`. Trials know the text of `build`, comments included; raise `version` where something that it
    calls has changed.
    """

    name: str
    build: Callable[[int], Any]
    encoder: str
    classifier: str
    levels: Sequence[Sequence[str]] = ()
    stride_px: int = 32
    version: int = 1
    stages: InitVar[Sequence[Sequence[str]] | None] = None

    def __post_init__(self, stages: Sequence[Sequence[str]] | None) -> None:
        _check(self.name, self.version)
        if stages is not None:
            object.__setattr__(self, "levels", stages)


@dataclass(frozen=True)
class Loss:
    """A user's own loss: `function(logits_BCHW, mask_BHW)` returns a scalar tensor for float logits and int64 masks.

    Masks hold class numbers and 255, which is to be ignored. Trials know the text of `function`, comments
    included; raise `version` where something that it calls has changed.
    """

    name: str
    function: Callable[[Any, Any], Any]
    version: int = 1

    def __post_init__(self) -> None:
        _check(self.name, self.version)


@dataclass(frozen=True)
class SelfSupervisedMethod:
    """A user's own method that trains an encoder without labels, for `SelfSupervised(dataset, method=...)`.

    `build(encoder, recipe)` returns a `segsweep.training.self_supervised_method.Method`, whose class may be `build` itself.
    Stages depend on the text of `build`, comments included; raise `version` where something that it calls has changed.
    """

    name: str
    build: Callable[[Any, Any], Any]
    version: int = 1

    def __post_init__(self) -> None:
        _check(self.name, self.version)


DatasetObject = Any  # a user's own dataset: all that `segsweep.data.dataset.Dataset` asks for, see DATASET_PARTS


@dataclass(frozen=True)
class Supervised:
    """A stage of supervised training, cut to `limit` pictures: `supervised:DATASET@N` as an object.

    `dataset` is a user's own dataset, or the name of one, as `folder:PATH` with any characters in its path.
    """

    dataset: DatasetObject | str
    limit: int | None = None


@dataclass(frozen=True)
class SelfSupervised:
    """A stage of training without labels: `simclr:DATASET@N` as an object; `dataset` as of `Supervised`.

    `method` is the name of a method, or a `SelfSupervisedMethod`.
    """

    dataset: DatasetObject | str
    limit: int | None = None
    method: str | SelfSupervisedMethod = "simclr"

    def __post_init__(self) -> None:
        if isinstance(self.method, str) and self.method not in self_supervised_kinds():
            raise unknown("SelfSupervised method", self.method, self_supervised_kinds())


@dataclass(frozen=True)
class File:
    """Weights in a file, safetensors or `.pth`, as the first stage of a source: `file:PATH` as an object.

    `mean` and `std` are the normalisation that the weights expect, in units of 0..1, one number each or three for red, green
    and blue; ImageNet's where they are not given. `prefix` is how the names of the weights to read begin, needed where a file
    holds several networks: `File("dino.pth", prefix="teacher")`.
    """

    path: str | Path
    mean: Stated | None = None
    std: Stated | None = None
    prefix: str | None = None

    @property
    def stage(self) -> Stage:
        """The stage that this stands for. Raises `UserError` for mean without std, and for values out of range."""
        if (self.mean is None) != (self.std is None):
            raise UserError(f"File {self.path}: give both mean and std, or neither")
        stated = None
        if self.mean is not None and self.std is not None:
            stated = Normalisation.stated(self.mean, self.std)
        return Stage.parse(str(Stage("file", str(self.path), prefix=self.prefix, normalisation=stated)))


DATASET_PARTS = ("name", "schemes", "fit", "pool", "protocols", "examples", "files", "revision", "read")


@dataclass(frozen=True)
class UserObject:
    """A thing that a study file brought, and the digest of what it is, taken where its code can be read."""

    value: Any
    fingerprint: str


_REGISTERED: dict[str, UserObject] = {}  # a table of names that the running study brought; the same in every process of it


def with_fingerprints(values: Mapping[str, Any]) -> dict[str, UserObject]:
    """Return things with their fingerprints, as their code is now."""
    return {
        text: value if isinstance(value, UserObject) else UserObject(value, _fingerprint(value)) for text, value in values.items()
    }


def register(values: Mapping[str, Any]) -> None:
    """Make things known in this process by their texts; a text that is known already is replaced."""
    _REGISTERED.update(with_fingerprints(values))


def check_provided(texts: Iterable[str], user_objects: Mapping[str, UserObject], study: str) -> None:
    """Raise `UserError` for a text `own:NAME` without an object in its study, whatever other studies of this process have."""
    for text in texts:
        if text.startswith(PREFIX) and text not in user_objects:
            known = ", ".join(sorted(user_objects)) or "none"
            raise UserError(
                f"study {study}: {text!r} has no object in this study, which has: {known}; give the object in place of its name"
            )


def for_workers(user_objects: Mapping[str, UserObject] | None = None) -> dict[str, UserObject]:
    """Return the architectures, losses and methods of a study, which workers need; datasets are read by the driver alone.

    Without a study they are those that this process knows.
    """
    known = _REGISTERED if user_objects is None else user_objects
    return {text: each for text, each in known.items() if isinstance(each.value, Architecture | Loss | SelfSupervisedMethod)}


def user_object(text: str) -> Any:
    """Return the thing that a text `own:NAME` stands for. Raises `UserError` where this process does not know it."""
    if text not in _REGISTERED:
        hint = "such objects exist only where their study file is run"
        raise UserError(f"{unknown('object', text, sorted(_REGISTERED) or ['none'])}; {hint}")
    return _REGISTERED[text].value


def fingerprint(text: str) -> str | None:
    """Return the digest of what the thing of a text `own:NAME` is, None for any other text and where the thing is unknown."""
    return _REGISTERED[text].fingerprint if text in _REGISTERED else None


def _fingerprint(value: Any) -> str:
    if isinstance(value, Loss):
        return digest(code_of(value.function))
    if isinstance(value, SelfSupervisedMethod):
        return digest(code_of(value.build))
    if isinstance(value, Architecture):
        return digest([code_of(value.build), value.encoder, value.classifier, [list(level) for level in value.levels]])
    return digest([class_code(value), value.name])


@dataclass
class Naming:
    """Puts texts in the place of objects, and remembers which stands for which."""

    found: dict[str, Any] = field(default_factory=dict)

    def text(self, value: Any) -> Any:
        """Return the text that stands for an object; a plain value as it is, a number of numpy as a plain one.

        A chain of stages may be a sequence: `("imagenet", Supervised(mine))`. Raises `UserError` for two different
        objects of one name.
        """
        if isinstance(value, Architecture | Loss | SelfSupervisedMethod):
            return self._remember(value.name + (f".v{value.version}" if value.version > 1 else ""), value)
        if isinstance(value, File):
            return str(value.stage)
        if isinstance(value, Supervised | SelfSupervised):
            kind = self.text(value.method) if isinstance(value, SelfSupervised) else "supervised"
            return str(Stage(kind, self.text(folder_name(value.dataset)), plain(value.limit)))
        if isinstance(value, list | tuple):
            return "+".join(str(self.text(part)) for part in value)
        if is_dataset(value):
            _check(value.name, 1)
            return self._remember(value.name, value)
        return plain(value)

    def texts(self, values: Iterable[Any]) -> tuple[Any, ...]:
        """Return the texts of several values."""
        return tuple(map(self.text, values))

    def _remember(self, name: str, value: Any) -> str:
        text = PREFIX + name
        if self.found.setdefault(text, value) is not value:
            raise UserError(f"{text}: two different objects have this name; give each its own")
        return text


def folder_name(value: Any) -> Any:
    """Return the name of the dataset that a path object means, `folder:PATH`; all else as it is."""
    return f"folder:{value}" if isinstance(value, PathLike) else value


def is_dataset(value: Any) -> bool:
    """Return whether a value is meant as a dataset. Raises `UserError` for one that lacks some of what is needed."""
    if isinstance(value, str) or not (hasattr(value, "examples") or hasattr(value, "read")):
        return False
    missing = [name for name in DATASET_PARTS if not hasattr(value, name)]
    if missing:
        raise UserError(f"dataset {type(value).__name__}: lacks {', '.join(missing)}; see segsweep.data.dataset.Dataset")
    return True
