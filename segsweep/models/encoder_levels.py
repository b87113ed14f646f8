"""The levels of an encoder: which weights belong to which level, derived from the autograd graphs of its feature maps."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

SIDES_PX = (224, 256, 384, 512)  # tried in this order: encoders with a fixed input size need one of them

Levels = tuple[tuple[str, ...], ...]


def feature_maps(output: Any) -> list[Tensor]:
    """Return the output of an encoder as a list of feature maps (B, C, H, W), the deepest last."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        return list(output.values())
    nested = isinstance(output, tuple) and isinstance(output[0], list | tuple)  # smp's ViTs return (features, prefix tokens)
    return list(output[0] if nested else output)


def levels_by_features(encoder: nn.Module) -> Levels | None:
    """Return the parameter names of each level of an encoder, from input to output; None if it cannot run on the meta device.

    A level holds the parameters from which one feature map is computed and no earlier map is. Parameters that no map depends on
    belong to the last level. A name that ends in a dot is a module and covers all parameters below it; other names are
    parameters.
    """
    parameters = {name: torch.empty_like(tensor, device="meta").requires_grad_() for name, tensor in encoder.named_parameters()}
    buffers = {name: torch.empty_like(tensor, device="meta") for name, tensor in encoder.named_buffers()}
    for side_px in SIDES_PX:
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                images = torch.empty(2, 3, side_px, side_px, device="meta")
                output = torch.func.functional_call(encoder, (parameters, buffers), (images,))
        except Exception:  # each library raises its own types
            continue
        numbers = _levels(feature_maps(output), parameters)
        cover = list(_cover(encoder, "", numbers))
        return tuple(tuple(name for name, number in cover if number == level) for level in sorted(set(numbers.values())))
    return None


def _levels(features: list[Tensor], parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """Return, for each parameter, the number of the first feature map that depends on it."""
    names = {parameter: name for name, parameter in parameters.items()}
    levels: dict[str, int] = {}
    for level, feature in enumerate(features):
        for parameter in _origins(feature):
            if parameter in names:
                levels.setdefault(names[parameter], level)
    last = max(levels.values(), default=0)
    return {name: levels.get(name, last) for name in parameters}


def _origins(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the leaf tensors from which a tensor is computed."""
    pending, seen = [tensor.grad_fn], set[Node]()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable  # only nodes of leaf tensors have this attribute
        pending.extend(parent for parent, _ in node.next_functions)


def _cover(module: nn.Module, prefix: str, levels: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the names of the largest submodules and parameters that lie in one level, with the number of the level."""
    for name, _ in module.named_parameters(recurse=False):
        yield prefix + name, levels[prefix + name]
    for name, child in module.named_children():
        below = f"{prefix}{name}."
        found = {level for parameter, level in levels.items() if parameter.startswith(below)}
        if len(found) == 1:
            yield below, found.pop()
        elif found:
            yield from _cover(child, below, levels)
