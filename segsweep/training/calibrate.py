"""Calibration of frozen normalisation layers whose running statistics still have their initial values.

A frozen layer normalises by its running mean and variance. If neither the transfer nor training has set them, they are 0 and 1,
and the features of a deep encoder with random weights vanish or explode. The statistics are therefore computed from the training
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

BATCH = 32  # images per forward pass; halved while they do not fit the GPU
IMAGES = 1000  # most images that are read, evenly spaced over the set
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
    """Set the statistics of frozen layers that the transfer did not load, and return the number of these layers.

    Frozen layers in train mode need no calibration: they normalise by the batch, and training updates their statistics.
    `transferred` holds the names of the loaded weights. Weights do not change. All processes of a world get the statistics of the
    main process.
    """
    layers = {
        name: layer
        for name, layer in layers_with_statistics(model.network).items()
        if model.freezes_statistics(name) and f"{name}.running_mean" not in transferred
    }
    if not layers:
        return 0
    model.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    if world.main:
        last = model.encoder if all(name.startswith(model.parts.encoder) for name in layers) else model
        with _forward_ends_after(last):
            set_statistics(model, list(layers.values()), images, normalisation, seed, device)
    statistics = {name: [getattr(layer, part).cpu() for part in STATISTICS] for name, layer in layers.items()}
    for name, values in world.agree(statistics).items():
        for part, value in zip(STATISTICS, values, strict=True):
            getattr(layers[name], part).copy_(value)
    return len(layers)


def layers_with_statistics(network: nn.Module) -> dict[str, Norm]:
    """Return the normalisation layers of a network that have running statistics, by their names."""
    modules = network.named_modules()
    return {name: module for name, module in modules if isinstance(module, Norm) and module.running_mean is not None}


def set_statistics(
    network: nn.Module,
    layers: Sequence[Norm],
    images: ImageSet,
    normalisation: Normalisation,
    seed: int,
    device: Device,
) -> None:
    """Set the running statistics of some layers from one pass over images, in an order fixed by the seed.

    The network is on the device already. Each layer gets the mean over the batches of the batch means and variances. One pass
    sets all layers: a layer's input is normalised by the statistics of its batch, as in training. At most 1,000 images are read,
    evenly spaced over the set. The network's mode is restored.
    """
    training, momenta = network.training, [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.train()
    few, batch_size = images.spread(IMAGES), BATCH
    while True:
        batches = few.batches(epoch_batches(len(few), batch_size, seed, 0), device)
        try:
            _update_statistics(network, layers, (normalise(shown, normalisation) for shown, _ in batches))
            break
        except torch.OutOfMemoryError:
            if batch_size <= 2:
                raise
        batch_size //= 2
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    network.train(training)


def _update_statistics(network: nn.Module, layers: Sequence[Norm], batches: Iterable[Tensor]) -> None:
    """Reset the statistics of the layers and set them from one pass over batches of inputs (B, 3, H, W)."""
    for layer in layers:
        layer.reset_running_stats()
    with torch.no_grad():
        for number, inputs in enumerate(batches, start=1):
            for layer in layers:
                layer.momentum = 1 / number  # a cumulative average; with momentum None, instance normalisation would not update
            with suppress(_ForwardEnded):
                network(inputs)


class _ForwardEnded(Exception):  # noqa: N818  # a signal, not an error
    """The last layer to be calibrated has seen the batch."""


@contextmanager
def _forward_ends_after(module: nn.Module) -> Iterator[None]:
    """End every forward pass with `_ForwardEnded` after this module, to save a decoder's third to two thirds of the time."""

    def stop(*_: Any) -> None:
        raise _ForwardEnded

    hook = module.register_forward_hook(stop)
    try:
        yield
    finally:
        hook.remove()
