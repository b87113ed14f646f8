"""Which weights of an encoder belong to which of its levels, read off what its feature maps are computed from."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

SIDES_PX = (224, 256, 384, 512)  # tried in turn: encoders with a fixed input want one of them

Levels = tuple[tuple[str, ...], ...]


def feature_maps(output: Any) -> list[Tensor]:
    """Return what an encoder gives as a list of feature maps (B, C, H, W), deepest last."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        return list(output.values())
    nested = isinstance(output, tuple) and isinstance(output[0], list | tuple)  # smp's ViTs give (features, prefix tokens)
    return list(output[0] if nested else output)


def levels_by_features(encoder: nn.Module) -> Levels | None:
    """Return, from input to output, how the names of the parameters of each level of an encoder begin.

    A level is what one feature map is computed from beyond the maps before it; parameters that no map needs count to the last. A
    name that ends in a dot stands for all below it, another one for itself. None where the encoder cannot be rehearsed
    without numbers.
    """
    parameters = {name: torch.empty_like(tensor, device="meta").requires_grad_() for name, tensor in encoder.named_parameters()}
    buffers = {name: torch.empty_like(tensor, device="meta") for name, tensor in encoder.named_buffers()}
    for side_px in SIDES_PX:
        try:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                images = torch.empty(2, 3, side_px, side_px, device="meta")
                output = torch.func.functional_call(encoder, (parameters, buffers), (images,))
        except Exception:  # each library has its own kinds
            continue
        numbers = _levels(feature_maps(output), parameters)
        cover = list(_cover(encoder, "", numbers))
        return tuple(tuple(name for name, number in cover if number == level) for level in sorted(set(numbers.values())))
    return None


def _levels(features: list[Tensor], parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the number of the first feature map that each parameter is needed for."""
    names = {parameter: name for name, parameter in parameters.items()}
    levels: dict[str, int] = {}
    for level, feature in enumerate(features):
        for parameter in _origins(feature):
            if parameter in names:
                levels.setdefault(names[parameter], level)
    last = max(levels.values(), default=0)
    return {name: levels.get(name, last) for name in parameters}


def _origins(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the leaves that a tensor is computed from."""
    waiting, seen = [tensor.grad_fn], set[Node]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable  # only the nodes that stand for leaves have one
        waiting.extend(parent for parent, _ in node.next_functions)


def _cover(module: nn.Module, prefix: str, levels: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the largest parts of a module that lie in one level, with its number."""
    for name, _ in module.named_parameters(recurse=False):
        yield prefix + name, levels[prefix + name]
    for name, child in module.named_children():
        below = f"{prefix}{name}."
        found = {level for parameter, level in levels.items() if parameter.startswith(below)}
        if len(found) == 1:
            yield below, found.pop()
        elif found:
            yield from _cover(child, below, levels)
