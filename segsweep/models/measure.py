"""The cost of an architecture: parameters and multiply-adds of encoder and head, counted on the meta device."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segsweep.models.architectures import build_on_meta, check_architecture
from segsweep.models.encoder_levels import feature_maps
from segsweep.models.freeze import freeze


@dataclass(frozen=True)
class Cost:
    """Counts of one architecture. `gmacs` are 10^9 multiply-adds for one image; the head is everything except the encoder.

    `output_stride` is the image's side divided by the side of the deepest feature map, rounded up. `encoder_levels` is the number
    of levels that freeze policies and layer-wise learning rates distinguish.
    """

    name: str
    trainable_parameters: int
    total_parameters: int
    encoder_parameters: int
    head_parameters: int
    gmacs: float
    encoder_gmacs: float
    head_gmacs: float
    output_stride: int
    encoder_levels: int


def measure(name: str, classes: int, image_px: int, policy: str = "none") -> Cost:
    """Return the cost of an architecture under a freeze policy, for one image (3, image_px, image_px).

    Raises `UserError` if the architecture cannot be built for that size, or if the policy does not fit it.
    """
    check_architecture(name, image_px)
    model = build_on_meta(name, classes).eval()
    freeze(model, policy)
    trainable, total = model.parameter_counts()
    encoder_parameters = sum(parameter.numel() for parameter in model.encoder.parameters())
    deepest_px: list[int] = []
    model.encoder.register_forward_hook(lambda *call: deepest_px.append(feature_maps(call[2])[-1].shape[-1]))
    encoder_gmacs, gmacs = _gmacs(model, model.encoder, image_px)
    return Cost(
        name=name,
        trainable_parameters=trainable,
        total_parameters=total,
        encoder_parameters=encoder_parameters,
        head_parameters=total - encoder_parameters,
        gmacs=gmacs,
        encoder_gmacs=encoder_gmacs,
        head_gmacs=gmacs - encoder_gmacs,
        output_stride=math.ceil(image_px / deepest_px[0]),
        encoder_levels=len(model.encoder_levels),
    )


def _gmacs(model: nn.Module, encoder: nn.Module, image_px: int) -> tuple[float, float]:
    """Return the multiply-adds of the encoder and of the whole model, in 10^9; one multiply-add is two operations."""
    within: list[int] = []
    counter = FlopCounterMode(display=False)
    hooks = (
        encoder.register_forward_pre_hook(lambda *_: within.append(-counter.get_total_flops())),
        encoder.register_forward_hook(lambda *_: within.append(counter.get_total_flops())),
    )
    with torch.no_grad(), counter:
        model(torch.empty(1, 3, image_px, image_px, device="meta"))
    for hook in hooks:
        hook.remove()
    return sum(within) / 2e9, counter.get_total_flops() / 2e9
