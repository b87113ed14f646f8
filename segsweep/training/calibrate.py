"""Statistics of frozen normalisation layers that no data has set.

A layer that is frozen normalises by its running mean and variance. Where neither the transfer nor training has set them they are
0 and 1, and a deep encoder of random weights then gives features that vanish or explode. So they are computed from the training
images, without labels, before such a layer is frozen.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from segsweep.config.normalisation import Normalisation
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.training.batches import ImageSet, epoch_batches, normalise
from segsweep.training.device import Device
from segsweep.training.world import World

BATCH = 32  # images that share the statistics of one forward pass; fewer where they do not fit the GPU
IMAGES = 1000  # at most that are read, from all over the set
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
Norm = nn.modules.batchnorm._NormBase


def calibrate(
    model: SegmentationModel,
    transferred: Collection[str],
    images: ImageSet,
    normalisation: Normalisation,
    *,
    seed: int,
    device: Device,
    world: World,
) -> int:
    """Set the statistics of held layers that the transfer did not bring, and return the number of these layers.

    Layers that are held in train mode need none: they normalise by the batch, and training moves their statistics.
    `transferred` are the names of the weights that were loaded. Weights stay as they are. The processes of a world all get the
    main one's statistics.
    """
    layers = {
        name: layer
        for name, layer in layers_with_statistics(model.network).items()
        if model.holds_statistics(name) and f"{name}.running_mean" not in transferred
    }
    if not layers:
        return 0
    model.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    if world.main:
        until = model.encoder if all(name.startswith(model.parts.encoder) for name in layers) else model
        with _no_further(until):
            set_statistics(model, list(layers.values()), images, normalisation, seed, device)
    statistics = {name: [getattr(layer, part).cpu() for part in STATISTICS] for name, layer in layers.items()}
    for name, values in world.agree(statistics).items():
        for part, value in zip(STATISTICS, values, strict=True):
            getattr(layers[name], part).copy_(value)
    return len(layers)


def layers_with_statistics(network: nn.Module) -> dict[str, Norm]:
    """Return the normalisation layers of a network that normalise by running statistics, by their names."""
    modules = network.named_modules()
    return {name: each for name, each in modules if isinstance(each, Norm) and each.running_mean is not None}


def set_statistics(
    network: nn.Module,
    layers: Sequence[Norm],
    images: ImageSet,
    normalisation: Normalisation,
    seed: int,
    device: Device,
) -> None:
    """Set the statistics of some layers of a network on the device from one pass over images, in an order fixed by the seed.

    Each layer gets the mean over the batches of their means and variances. All layers are set in the same pass: a layer's input
    is normalised by the statistics of its batch, as in training. At most 1,000 images are read, from all over the set. The
    network's mode is restored.
    """
    training, momenta = network.training, [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.train()
    few, batch_size = images.spread(IMAGES), BATCH
    while True:
        batches = few.batches(epoch_batches(len(few), batch_size, seed, 0), device)
        try:
            _pass(network, layers, (normalise(shown, normalisation) for shown, _ in batches))
            break
        except torch.OutOfMemoryError:
            if batch_size <= 2:
                raise
        batch_size //= 2
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.train(training)


def _pass(network: nn.Module, layers: Sequence[Norm], batches: Iterable[Tensor]) -> None:
    """Set the statistics anew from one pass over batches of inputs (B, 3, H, W)."""
    for layer in layers:
        layer.reset_running_stats()
    with torch.no_grad():
        for number, inputs in enumerate(batches, start=1):
            for layer in layers:
                layer.momentum = 1 / number  # a cumulative average; for None instance normalisation would not move
            with suppress(_Enough):
                network(inputs)


class _Enough(Exception):  # noqa: N818  # no error: a signal
    """All layers that matter have seen the batch."""


@contextmanager
def _no_further(module: nn.Module) -> Iterator[None]:
    """End every forward pass with `_Enough` once this module is through: a decoder takes a third to two thirds of it."""

    def stop(*_: Any) -> None:
        raise _Enough

    hook = module.register_forward_hook(stop)
    try:
        yield
    finally:
        hook.remove()
