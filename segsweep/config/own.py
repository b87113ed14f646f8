"""A user's own things: a data set, an architecture or a loss that a study file brings as an object where a name would stand.

In settings and records such a thing goes by the text `own:NAME` (`own:NAME.v2` for its second version). The objects
themselves travel with the study to the processes that need them, which `adopt` them.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from segsweep.errors import UserError, unknown

PREFIX = "own:"
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def _check(name: object, version: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        raise UserError(f"name={name!r}: must be letters, digits, '_' and '-'")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise UserError(f"{name}: version={version!r}: must be a whole number >= 1")


@dataclass(frozen=True)
class Architecture:
    """A user's own architecture.

    `build(classes)` returns a `torch.nn.Module` from images (B, 3, H, W), normalised floats, to logits (B, classes, H, W).
    `encoder` and `classifier` are how the names of its parameters begin in its encoder and in its last classifier
    (`"encoder."`, `"head.out."`); `stages` how they begin in each stage of the encoder from input to output, needed for
    `encoder:K`, `layer_decay` and gradual unfreezing alone. Heights and widths must be multiples of `stride_px`. Raise
    `version` whenever `build` gives another network: what was computed with the old one is not taken for it.
    """

    name: str
    build: Callable[[int], Any]
    encoder: str
    classifier: str
    stages: Sequence[Sequence[str]] = ()
    stride_px: int = 32
    version: int = 1

    def __post_init__(self) -> None:
        _check(self.name, self.version)


@dataclass(frozen=True)
class Loss:
    """A user's own loss: `function(logits_BCHW, mask_BHW)` returns a scalar tensor for float logits and int64 masks.

    Masks hold class numbers and 255, which is to be ignored. Raise `version` whenever it computes something else.
    """

    name: str
    function: Callable[[Any, Any], Any]
    version: int = 1

    def __post_init__(self) -> None:
        _check(self.name, self.version)


class DataSetObject(Protocol):
    """A user's own data set: what `segsweep.data.dataset.DataSet` asks for; its `revision` is its version."""

    @property
    def name(self) -> str:
        """The name that records show."""

    def examples(self) -> Any:
        """Return every example."""

    def revision(self) -> str:
        """Return a text that changes whenever the reader would give other arrays for the same files."""


@dataclass(frozen=True)
class Supervised:
    """A stage of supervised training on a user's own data set, cut to `limit` pictures: `supervised:DATASET@N` as an object."""

    dataset: DataSetObject
    limit: int | None = None


_ADOPTED: dict[str, Any] = {}  # a table of names that the running study brought; the same in every process of it


def adopt(things: Mapping[str, Any]) -> None:
    """Make things known in this process by their texts; a text that is known already is replaced."""
    _ADOPTED.update(things)


def adopted() -> dict[str, Any]:
    """Return all things that this process knows by their texts."""
    return dict(_ADOPTED)


def own(text: str) -> Any:
    """Return the thing that a text `own:NAME` stands for. Raises `UserError` where this process was not brought it."""
    if text not in _ADOPTED:
        hint = "such objects exist only where their study file is run"
        raise UserError(f"{unknown('object', text, sorted(_ADOPTED) or ['none'])}; {hint}")
    return _ADOPTED[text]


@dataclass
class Naming:
    """Puts texts in the place of objects, and remembers which stands for which."""

    found: dict[str, Any] = field(default_factory=dict)

    def text(self, value: Any) -> Any:
        """Return the text that stands for an object; a plain value as it is.

        A chain of stages may be a sequence: `("imagenet", Supervised(mine))`. Raises `UserError` for two different
        objects of one name.
        """
        if isinstance(value, Architecture | Loss):
            return self._remember(value.name + (f".v{value.version}" if value.version > 1 else ""), value)
        if isinstance(value, Supervised):
            limit = "" if value.limit is None else f"@{value.limit}"
            return f"supervised:{self.text(value.dataset)}{limit}"
        if isinstance(value, list | tuple):
            return "+".join(str(self.text(part)) for part in value)
        if is_data_set(value):
            _check(value.name, 1)
            return self._remember(value.name, value)
        return value

    def texts(self, values: Iterable[Any]) -> tuple[Any, ...]:
        """Return the texts of several values."""
        return tuple(map(self.text, values))

    def _remember(self, name: str, thing: Any) -> str:
        text = PREFIX + name
        if self.found.setdefault(text, thing) is not thing:
            raise UserError(f"{text}: two different objects have this name; give each its own")
        return text


def is_data_set(value: Any) -> bool:
    """Return whether a value can be a data set rather than the name of one."""
    return not isinstance(value, str) and all(hasattr(value, name) for name in ("name", "examples", "read", "revision"))
