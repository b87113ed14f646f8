"""Transfer of weights from a source into a model, with a report. This is the only place where weights enter a model."""

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
    """Names of the weights that a transfer loaded, that it kept at their initial values, and that it left unused in the source.

    `absent` are those of `kept` that lie in the scope, since the source declares that it lacks them. `classes` is the map of the
    last classifier's rows; None if they were not mapped. `prefix` is the prefix of the network's names in a file.
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
    """Load weights into a model, and return a report.

    Only weights in the scope are loaded, and both sides must have all of them with the same shapes.

    Args:
        model: The model, which is changed.
        weights: Tensors by the names of `model.network`, in its shapes; a classifier that is mapped has S rows, (S, ...), for S
            source classes.
        scope: The part that is transferred: `encoder`, `all-but-classifier`, or `all`.
        ignored: Prefixes of names of the source that are declared unused.
        absent: Prefixes of names of the model that the source declares absent.
        classes: Map of the classes, by which the scope `all` fills the last classifier row by row; without it, the classifier is
            loaded like all other weights.
        origin: Names in the source's file by the network's names, for messages.
        prefix: Prefix of the names in the file, for the report.

    Raises:
        UserError: A weight is missing, unexpected, or of another shape, or the model has no weights in the scope. The message has
            names of both sides.
    """
    model_state = model.network.state_dict()
    in_scope = [name for name in model_state if _in_scope(name, scope, model)]
    expected_names = [name for name in in_scope if not name.startswith(tuple(absent))]
    if not expected_names:
        raise UserError(f"transfer={scope}: this model has no weights in this scope")
    mapped = [name for name in expected_names if classes is not None and name.startswith(model.parts.classifier)]
    expected = {name: _expected_shape(model_state[name], classes if name in mapped else None) for name in expected_names}
    offered = [name for name in weights if _in_scope(name, scope, model) and not name.startswith(tuple(ignored))]
    _refuse_differences(scope, weights, expected, [name for name in offered if name not in model_state], origin or {})
    moved = {name: weights[name] for name in expected_names}
    if classes is not None:
        moved |= {name: classes.apply(model_state[name], weights[name].to(model_state[name])) for name in mapped}
    model.network.load_state_dict({**model_state, **moved})
    return TransferReport(
        loaded=tuple(expected_names),
        kept=tuple(name for name in model_state if name not in set(expected_names)),
        unused=tuple(name for name in weights if name not in set(expected_names)),
        classes=classes if mapped else None,
        prefix=prefix,
        absent=tuple(name for name in in_scope if name not in set(expected_names)),
    )


def _refuse_differences(
    scope: str,
    weights: Mapping[str, Tensor],
    expected: Mapping[str, tuple[int, ...]],
    foreign: Sequence[str],
    origin: Mapping[str, str],
) -> None:
    """Raise `UserError`, with names of both sides, unless the weights have exactly the expected names and shapes."""
    missing = [name for name in expected if name not in weights]
    if missing:
        rest = [origin.get(name, name) for name in weights if name not in expected] or list(weights)
        raise UserError(f"transfer={scope}: the source lacks {_few(missing)}; it has {_few(rest)}")
    if foreign:
        found = [origin.get(name, name) for name in foreign]
        near = ", ".join(difflib.get_close_matches(foreign[0], expected, NAMES_SHOWN, cutoff=0))
        raise UserError(f"transfer={scope}: the source has {_few(found)}, which the model lacks; the model has {near}, ...")
    shapes = [
        f"{origin.get(name, name)} {tuple(weights[name].shape)} instead of {shape}" + (f" of {name}" if name in origin else "")
        for name, shape in expected.items()
        if tuple(weights[name].shape) != shape
    ]
    if shapes:
        raise UserError(f"transfer={scope}: the shapes of source and model differ: {_few(shapes)}")


def _few(names: Sequence[str]) -> str:
    """Return the first few names, and the number of the remaining ones."""
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else "")


def _expected_shape(weight: Tensor, classes: ClassMap | None) -> tuple[int, ...]:
    """Return the shape of a weight of the model in the source; a mapped weight has one row per source class."""
    if classes is None:
        return tuple(weight.shape)
    assert weight.shape[0] == len(classes.target), "the class map belongs to another model"
    return (len(classes.source), *weight.shape[1:])


def _in_scope(name: str, scope: str, model: SegmentationModel) -> bool:
    if scope == "encoder":
        return name.startswith(model.parts.encoder)
    if scope == "all-but-classifier":
        return not name.startswith(model.parts.classifier)
    assert scope == "all", scope
    return True
