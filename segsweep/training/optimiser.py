"""Optimisers, by name."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from segsweep.models.parameter_groups import parameter_groups
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.training.recipe import Recipe

# fused: one call a step instead of six a tensor, five times as fast on a CPU too; there is none of RMSprop
OPTIMIZERS: Mapping[str, Callable[[Any, Recipe], torch.optim.Optimizer]] = {
    "adam": lambda groups, recipe: torch.optim.Adam(groups, weight_decay=recipe.weight_decay, fused=True),
    "adamw": lambda groups, recipe: torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True),
    "sgd": lambda groups, recipe: torch.optim.SGD(groups, weight_decay=recipe.weight_decay, momentum=recipe.momentum, fused=True),
    "rmsprop": lambda groups, recipe: torch.optim.RMSprop(groups, weight_decay=recipe.weight_decay, momentum=recipe.momentum),
}

DECOUPLED = ("adamw",)  # weight decay as Loshchilov and Hutter 2019 have it, which timm too applies to weights alone


def build_optimizer(model: SegmentationModel, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over what it trains, at the learning rates of its groups."""
    groups = parameter_groups(
        model,
        recipe.learning_rate,
        recipe.encoder_lr_factor,
        recipe.layer_decay,
        all_parameters=recipe.unfreeze_every_epochs is not None,
    )
    if recipe.optimizer in DECOUPLED and recipe.weight_decay:
        groups = [part for group in groups for part in _by_decay(group, recipe.weight_decay)]
    return OPTIMIZERS[recipe.optimizer](groups, recipe)


def _by_decay(group: dict[str, Any], weight_decay: float) -> list[dict[str, Any]]:
    """Return a group in two: weights, and what has one dimension, biases and normalisation, which is not decayed."""
    weights = [parameter for parameter in group["params"] if parameter.dim() > 1]
    others = [parameter for parameter in group["params"] if parameter.dim() <= 1]
    parts = [{**group, "params": weights, "weight_decay": weight_decay}, {**group, "params": others, "weight_decay": 0.0}]
    return [part for part in parts if part["params"]]


def clip_gradients(model: nn.Module, largest_norm: float | None) -> None:
    """Scale all gradients of a model down to a largest L2 norm of all of them together; None leaves them (Pascanu et al. 2013).

    To be called once all of a batch's gradients are there, so that what is clipped is the gradient of the whole batch, whether
    it came in pieces or was averaged over processes. The device is not waited for.
    """
    if largest_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), largest_norm)
