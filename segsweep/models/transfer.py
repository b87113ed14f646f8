"""Moving weights from a source into a model: the one place where weights come in, and its report."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from segsweep.errors import UserError
from segsweep.models.segmentation_model import SegmentationModel

NAMES_SHOWN = 4


@dataclass(frozen=True)
class TransferReport:
    """The names of the weights that were loaded, those of the model that kept their start, those of the source left unused."""

    loaded: tuple[str, ...]
    kept: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.loaded)} weights loaded, {len(self.kept)} kept, {len(self.unused)} of the source unused"


def transfer_weights(model: SegmentationModel, weights: Mapping[str, Tensor], scope: str) -> TransferReport:
    """Load weights into a model and report what was done.

    `scope` announces what moves: `encoder`, `all-but-classifier`, or `all`. All that lies in the scope must be there on
    both sides with the same shape, otherwise `UserError` names what is not; nothing else is loaded. `weights` bears
    the names of `model.network`.
    """
    own = model.network.state_dict()
    announced = [name for name in own if _in_scope(name, scope, model)]
    offered = [name for name in weights if _in_scope(name, scope, model)]
    missing = [name for name in announced if name not in weights]
    foreign = [name for name in offered if name not in own]
    shapes = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in announced
        if name in weights and weights[name].shape != own[name].shape
    ]
    for problem, names in (("lacks", missing), ("has, beyond the model,", foreign), ("has another shape of", shapes)):
        if names:
            more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            raise UserError(f"transfer={scope}: the source {problem} {', '.join(names[:NAMES_SHOWN])}{more}")
    if not announced:
        raise UserError(f"transfer={scope}: names nothing in this model")
    model.network.load_state_dict({**own, **{name: weights[name] for name in announced}})
    return TransferReport(
        loaded=tuple(announced),
        kept=tuple(name for name in own if name not in set(announced)),
        unused=tuple(name for name in weights if name not in set(announced)),
    )


def _in_scope(name: str, scope: str, model: SegmentationModel) -> bool:
    if scope == "encoder":
        return name.startswith(model.parts.encoder)
    if scope == "all-but-classifier":
        return not name.startswith(model.parts.classifier)
    assert scope == "all", scope
    return True
