"""Models with random weights for tests that build the same one many times: copying takes a third of the time of building."""

from copy import deepcopy
from functools import cache

from segsweep.models.architectures import build_model
from segsweep.models.segmentation_model import SegmentationModel


def fresh_model(name: str, classes: int = 2) -> SegmentationModel:
    """Return a model as `build_model(name, classes, seed=0)` does; it shares nothing with earlier ones."""
    return deepcopy(_built(name, classes))


@cache
def _built(name: str, classes: int) -> SegmentationModel:
    return build_model(name, classes, seed=0)
