"""Learning rates per part of a model: a slower encoder, and slower levels the nearer they are to the image.

Discriminative fine-tuning (Howard and Ruder 2018, arXiv:1801.06146); the layer-wise decay as in BEiT (Bao et al. 2022,
arXiv:2106.08254), with the encoder's levels for layers.
"""

from typing import Any

from torch import nn

from segsweep.models.segmentation_model import SegmentationModel


def parameter_groups(
    model: SegmentationModel,
    learning_rate: float,
    encoder_lr_factor: float = 1.0,
    layer_decay: float = 1.0,
    *,
    all_parameters: bool = False,
) -> list[dict[str, Any]]:
    """Return parameter groups for an optimiser of torch, each with its `params` and `lr`.

    What lies outside the encoder has `learning_rate`; level k of K of the encoder, counted from the input,
    `learning_rate * encoder_lr_factor * layer_decay ** (K - k)`. With both at 1 there is one group, in the order of
    `model.parameters()`. Held parameters are left out unless `all_parameters` is set, for those that are released later.
    """
    chosen = {
        name: parameter for name, parameter in model.network.named_parameters() if all_parameters or parameter.requires_grad
    }
    if encoder_lr_factor == layer_decay == 1:
        return [{"params": list(chosen.values()), "lr": learning_rate}]
    outside = [parameter for name, parameter in chosen.items() if not name.startswith(model.parts.encoder)]
    groups = [{"params": outside, "lr": learning_rate}]
    last = len(model.encoder_levels) - 1
    for number, level in enumerate(model.encoder_levels):
        rate = learning_rate * encoder_lr_factor * layer_decay ** (last - number)
        groups.append({"params": _of_level(chosen, level), "lr": rate})
    return [group for group in groups if group["params"]]


def _of_level(parameters: dict[str, nn.Parameter], level: tuple[str, ...]) -> list[nn.Parameter]:
    modules = tuple(name for name in level if name.endswith("."))
    return [parameter for name, parameter in parameters.items() if name.startswith(modules) or name in level]
