"""Learning rates per part of a model: lower for the encoder, and lower for levels nearer to the input.

Discriminative fine-tuning (Howard and Ruder 2018, arXiv:1801.06146), with the layer-wise decay of BEiT (Bao et al. 2022,
arXiv:2106.08254) applied to the encoder's levels.
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
    """Return parameter groups for a torch optimiser, each with its `params` and `lr`.

    Parameters outside the encoder have `learning_rate`. Level k of K of the encoder, counted from 1 at the input, has
    `learning_rate * encoder_lr_factor * layer_decay ** (K - k)`. If both factors are 1, there is one group, in the order of
    `model.parameters()`. Frozen parameters are left out, unless `all_parameters` is set for parameters that are unfrozen later.
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
