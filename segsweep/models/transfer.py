"""Moving weights from a source into a model: the one place where weights come in, and its report."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from segsweep.errors import UserError
from segsweep.models.class_map import ClassMap
from segsweep.models.segmentation_model import SegmentationModel

NAMES_SHOWN = 3


@dataclass(frozen=True)
class TransferReport:
    """The names of the weights that were loaded, those of the model that kept their start, those of the source left unused.

    `absent` are those that kept their start though they lie in the scope, since the source was announced not to have them.
    `classes` says how the rows of the last classifier were mapped, where they were; `prefix` what a file had in front of the
    network's names.
    """

    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]
    classes: ClassMap | None = None
    prefix: str = ""
    absent: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = Counter(name.partition(".")[0] for name in self.unused)
        unused = f" ({', '.join(f'{part} {count}' for part, count in parts.items())})" if parts else ""
        text = f"{len(self.loaded)} weights loaded, {len(self.kept)} kept, {len(self.unused)} of the source unused{unused}"
        text += f"; not transferred, since the source has another stem: {', '.join(self.absent)}" if self.absent else ""
        text += f"; read below {self.prefix!r}" if self.prefix else ""
        return text if self.classes is None else f"{text}; classes:\n{self.classes}"


def transfer_weights(
    model: SegmentationModel,
    weights: Mapping[str, Tensor],
    scope: str,
    *,
    ignored: Sequence[str] = (),
    absent: Sequence[str] = (),
    classes: ClassMap | None = None,
    origin: Mapping[str, str] | None = None,
    prefix: str = "",
) -> TransferReport:
    """Load weights into a model and report what was done.

    `scope` announces what moves: `encoder`, `all-but-classifier`, or `all`. All that lies in the scope must be there on
    both sides with the same shape, otherwise `UserError` names what is not; nothing else is loaded. `weights` bears
    the names of `model.network`; names that begin as one of `ignored` are announced as of no use, and names of the model
    that begin as one of `absent` as not in the source. With `classes`, and the scope `all`, the last classifier is taken row by
    row instead; without, it is loaded as all else. Of weights that a file names otherwise, `origin` gives the file's names for
    messages, and `prefix` what it had in front of them for the report.
    """
    model_state = model.network.state_dict()
    in_scope = [name for name in model_state if _in_scope(name, scope, model)]
    announced = [name for name in in_scope if not name.startswith(tuple(absent))]
    if not announced:
        raise UserError(f"transfer={scope}: names nothing in this model")
    mapped = [name for name in announced if classes is not None and name.startswith(model.parts.classifier)]
    expected = {name: _expected_shape(model_state[name], classes if name in mapped else None) for name in announced}
    offered = [name for name in weights if _in_scope(name, scope, model) and not name.startswith(tuple(ignored))]
    _refuse_unexplained(scope, weights, expected, [name for name in offered if name not in model_state], origin or {})
    moved = {name: weights[name] for name in announced}
    if classes is not None:
        moved |= {name: classes.apply(model_state[name], weights[name].to(model_state[name])) for name in mapped}
    model.network.load_state_dict({**model_state, **moved})
    return TransferReport(
        loaded=tuple(announced),
        kept=tuple(name for name in model_state if name not in set(announced)),
        unused=tuple(name for name in weights if name not in set(announced)),
        classes=classes if mapped else None,
        prefix=prefix,
        absent=tuple(name for name in in_scope if name not in set(announced)),
    )


def _refuse_unexplained(
    scope: str,
    weights: Mapping[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
    foreign: Sequence[str],
    origin: Mapping[str, str],
) -> None:
    """Raise `UserError`, with names of both sides, unless the weights have all that is expected, in its shapes, and no more."""
    missing = [name for name in expected if name not in weights]
    if missing:
        rest = [origin.get(name, name) for name in weights if name not in expected] or list(weights)
        raise UserError(f"transfer={scope}: the source lacks {_few(missing)}; it has {_few(rest)}")
    if foreign:
        found = [origin.get(name, name) for name in foreign]
        near = ", ".join(difflib.get_close_matches(foreign[0], expected, NAMES_SHOWN, cutoff=0))
        raise UserError(f"transfer={scope}: the source has, beyond the model, {_few(found)}; the model has {near}, ...")
    shapes = [
        f"{origin.get(name, name)} {tuple(weights[name].shape)} instead of {shape}" + (f" of {name}" if name in origin else "")
        for name, shape in expected.items()
        if tuple(weights[name].shape) != shape
    ]
    if shapes:
        raise UserError(f"transfer={scope}: the source has another shape of {_few(shapes)}")


def _few(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")


def _expected_shape(weight: Tensor, classes: ClassMap | None) -> tuple[int, ...]:
    """Return the shape that the source must have for a weight of the model; a mapped one has a row per source class."""
    if classes is None:
        return tuple(weight.shape)
    assert weight.shape[0] == len(classes.target), "the class map is another model's"
    return (len(classes.source), *weight.shape[1:])


def _in_scope(name: str, scope: str, model: SegmentationModel) -> bool:
    if scope == "encoder":
        return name.startswith(model.parts.encoder)
    if scope == "all-but-classifier":
        return not name.startswith(model.parts.classifier)
    assert scope == "all", scope
    return True
