"""Reading a weight file by a model's names, where it bears those under which its encoder is published."""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from segsweep.models.segmentation_model import SegmentationModel

OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")  # in torchvision's files of 2017
COUNTER = ".num_batches_tracked"  # of normalisation layers, not in files of that time
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    lambda name: name.removeprefix("features."),  # the whole network's name of what a segmentation network keeps alone
    lambda name: f"model.{name}",  # timm's name of what smp wraps
)


def modern_name(name: str) -> str:
    """Return the name that a layer of torchvision's DenseNets has now; all other names are left."""
    return OLD_DENSENET.sub(r"\1\2", name)


def by_network_names(model: SegmentationModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a file by the names of `model.network`.

    They are taken as they are where they name a weight of the network's encoder; else as a published file of the encoder alone,
    as the hubs give it: what belongs to the encoder goes under its prefix, all else (its classifier) keeps its name, so that
    the transfer's report lists it as unused.
    """
    prefix = model.parts.encoder
    own = {name: tensor for name, tensor in model.network.state_dict().items() if name.startswith(prefix)}
    modern = {modern_name(name): tensor for name, tensor in weights.items()}
    spell = max(SPELLINGS, key=lambda spelling: sum(prefix + spelling(name) in own for name in modern))
    named = {prefix + spell(name) if prefix + spell(name) in own else name: tensor for name, tensor in modern.items()}
    if own.keys() & weights.keys() or not own.keys() & named.keys():
        return dict(weights)
    counters = {
        name: torch.zeros_like(tensor, device="cpu")
        for name, tensor in own.items()
        if name.endswith(COUNTER) and name not in named
    }
    return {**named, **counters}
