"""Freeze policies: which parameters and normalisation statistics stay as they are."""

from collections.abc import Callable, Mapping

from segsweep.errors import unknown
from segsweep.models.segmentation_model import SegmentationModel

FREEZE_POLICIES: Mapping[str, Callable[[SegmentationModel], None]] = {
    "none": lambda _: None,
    "encoder": lambda model: model.hold(model.encoder),
}


def freeze(model: SegmentationModel, policy: str) -> None:
    """Hold the parts of a model that a policy names. Raises `UserError` for an unknown policy."""
    if policy not in FREEZE_POLICIES:
        raise unknown("freeze", policy, list(FREEZE_POLICIES))
    FREEZE_POLICIES[policy](model)
