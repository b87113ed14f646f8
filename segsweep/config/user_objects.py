"""User objects: a dataset, architecture, loss or self-supervised method that a study file passes instead of a name.

Settings and records name such an object by the text `own:NAME` (`own:NAME.v2` for its second version). The objects travel with
the study to the processes that need them, which `register` them. A fingerprint distinguishes results that were computed with
different code under one name. It is computed when the study is declared: each study, and each of its trials and stages, has
fingerprints that do not depend on other studies in the process.
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
    """A user's architecture.

    Attributes:
        name: Letters, digits, `_` and `-`.
        build: `build(classes)` returns a `torch.nn.Module` that maps images (B, 3, H, W), normalised floats, to logits (B,
            classes, H, W). With `output=sigmoid`, `classes` is 1.
        encoder: Prefix of the names of the encoder's parameters, such as `"encoder."`.
        classifier: Prefix of the names of the last classifier's parameters, such as `"head.out."`.
        levels: Prefixes of the parameter names of each level of the encoder, from input to output; required only for `encoder:K`,
            `layer_decay` and gradual unfreezing.
        stride_px: Number of pixels of which heights and widths must be multiples.
        version: Counts from 1. A trial's id covers the source text of `build`, comments included; raise the version after a
            change in code that `build` calls.
        stages: Former name of `levels`.

    Raises:
        UserError: the name has other characters, or the version is not a whole number >= 1.
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
    """A user's loss.

    Attributes:
        name: Letters, digits, `_` and `-`.
        function: `function(logits_BCHW, mask_BHW)` returns a scalar tensor for float logits (B, C, H, W) and an int64 mask (B, H,
            W) of class numbers, in which 255 marks pixels to ignore.
        version: Counts from 1. A trial's id covers the source text of `function`, comments included; raise the version after a
            change in code that `function` calls.

    Raises:
        UserError: the name has other characters, or the version is not a whole number >= 1.
    """

    name: str
    function: Callable[[Any, Any], Any]
    version: int = 1

    def __post_init__(self) -> None:
        _check(self.name, self.version)


@dataclass(frozen=True)
class SelfSupervisedMethod:
    """A user's method that trains an encoder without labels, for `SelfSupervised(dataset, method=...)`.

    Attributes:
        name: Letters, digits, `_` and `-`.
        build: `build(encoder, recipe)` returns a `segsweep.training.self_supervised_method.Method`; it may be the method's class.
        version: Counts from 1. A stage's key covers the source text of `build`, comments included; raise the version after a
            change in code that `build` calls.

    Raises:
        UserError: the name has other characters, or the version is not a whole number >= 1.
    """

    name: str
    build: Callable[[Any, Any], Any]
    version: int = 1

    def __post_init__(self) -> None:
        _check(self.name, self.version)


DatasetObject = Any  # a user's dataset, which implements `segsweep.data.dataset.Dataset`; see DATASET_PARTS


@dataclass(frozen=True)
class Supervised:
    """A stage of supervised training as an object: `supervised:DATASET@N`.

    Attributes:
        dataset: A user's dataset object, or the name of a dataset, such as `folder:PATH` with any characters in its path.
        limit: Number of images, at least 1; None for all.
    """

    dataset: DatasetObject | str
    limit: int | None = None


@dataclass(frozen=True)
class SelfSupervised:
    """A stage of training without labels as an object: `simclr:DATASET@N`.

    Attributes:
        dataset: A user's dataset object, or the name of a dataset, such as `folder:PATH` with any characters in its path.
        limit: Number of images, at least 1; None for all.
        method: Name of the self-supervised method, or a `SelfSupervisedMethod`.

    Raises:
        UserError: the method is unknown.
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

    Attributes:
        path: Path of the file.
        mean: Mean of the input normalisation that the weights expect, in units of 0..1: one number, or three for red, green and
            blue. None: ImageNet's.
        std: Standard deviation of the same normalisation, above 0 and at most 1; given if and only if `mean` is.
        prefix: Prefix of the names of the weights to read, required if the file holds several networks: `File("dino.pth",
            prefix="teacher")`.
    """

    path: str | Path
    mean: Stated | None = None
    std: Stated | None = None
    prefix: str | None = None

    @property
    def stage(self) -> Stage:
        """The stage for this file. Raises `UserError` for mean without std, and for values out of range."""
        if (self.mean is None) != (self.std is None):
            raise UserError(f"File {self.path}: give both mean and std, or neither")
        stated = None
        if self.mean is not None and self.std is not None:
            stated = Normalisation.stated(self.mean, self.std)
        return Stage.parse(str(Stage("file", str(self.path), prefix=self.prefix, normalisation=stated)))


DATASET_PARTS = ("name", "schemes", "fit", "pool", "protocols", "examples", "files", "revision", "read")


@dataclass(frozen=True)
class UserObject:
    """An object that a study file passes, with the digest of its code."""

    value: Any
    fingerprint: str


_REGISTERED: dict[str, UserObject] = {}  # objects by text; equal in every process of a run


def with_fingerprints(values: Mapping[str, Any]) -> dict[str, UserObject]:
    """Return the objects with fingerprints of their present code."""
    return {
        text: value if isinstance(value, UserObject) else UserObject(value, _fingerprint(value)) for text, value in values.items()
    }


def register(values: Mapping[str, Any]) -> None:
    """Make objects known in this process by their texts; an object replaces an earlier one with the same text."""
    _REGISTERED.update(with_fingerprints(values))


def check_provided(texts: Iterable[str], user_objects: Mapping[str, UserObject], study: str) -> None:
    """Raise `UserError` for a text `own:NAME` without an object in its study, even if another study of this process has one."""
    for text in texts:
        if text.startswith(PREFIX) and text not in user_objects:
            known = ", ".join(sorted(user_objects)) or "none"
            raise UserError(
                f"study {study}: {text!r} has no object in this study, which has: {known}; pass the object instead of its name"
            )


def for_workers(user_objects: Mapping[str, UserObject] | None = None) -> dict[str, UserObject]:
    """Return the architectures, losses and methods of a study, which workers need; only the driver reads its datasets.

    Without a study, return those that this process knows.
    """
    known = _REGISTERED if user_objects is None else user_objects
    return {text: each for text, each in known.items() if isinstance(each.value, Architecture | Loss | SelfSupervisedMethod)}


def user_object(text: str) -> Any:
    """Return the object that a text `own:NAME` names. Raises `UserError` if this process does not know it."""
    if text not in _REGISTERED:
        hint = "such objects exist only in a run of their study file"
        raise UserError(f"{unknown('object', text, sorted(_REGISTERED) or ['none'])}; {hint}")
    return _REGISTERED[text].value


def fingerprint(text: str) -> str | None:
    """Return the fingerprint of the object that a text `own:NAME` names; None for any other text and for an unknown object."""
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
    """Replaces objects by texts, and records which text stands for which object."""

    found: dict[str, Any] = field(default_factory=dict)

    def text(self, value: Any) -> Any:
        """Return the text that stands for an object; return a plain value unchanged and a numpy number as a plain number.

        A chain of stages may be a sequence: `("imagenet", Supervised(mine))`. Raises `UserError` for two different objects with
        one name.
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
            raise UserError(f"{text}: two different objects have this name; give them different names")
        return text


def folder_name(value: Any) -> Any:
    """Return the dataset name `folder:PATH` of a path object; return any other value unchanged."""
    return f"folder:{value}" if isinstance(value, PathLike) else value


def is_dataset(value: Any) -> bool:
    """Return whether a value is a dataset object. Raises `UserError` for one that lacks required attributes."""
    if isinstance(value, str) or not (hasattr(value, "examples") or hasattr(value, "read")):
        return False
    missing = [name for name in DATASET_PARTS if not hasattr(value, name)]
    if missing:
        raise UserError(f"dataset {type(value).__name__}: lacks {', '.join(missing)}; see segsweep.data.dataset.Dataset")
    return True
