"""Several processes that train one model together, each on its own device and with its own share of every batch.

They compute what one process computes at the same batch size, except for rounding: losses are those of the whole batch, batch
normalisation uses the statistics of the whole batch, and evaluations are gathered. Only dropout draws other random numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from segsweep.data.splits import Indices
from segsweep.errors import UserError
from segsweep.training.device import Device

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """The `size` processes that train one model together; this one has number `rank`. Most worlds have one process.

    With several processes, torch's default process group must be initialised, and all of them must call every method together.
    """

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this process is the main one, which writes files and reports results."""
        return self.rank == 0

    def share(self, positions: Indices) -> Indices:
        """Return this process's share (L,) of a batch's positions (B,); the shares in order of rank make up the batch."""
        return np.array_split(positions, self.size)[self.rank]

    def agree(self, value: Value) -> Value:
        """Return the main process's value."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[Value | None] = [None] * self.size
        distributed.all_gather_object(values, value)
        return values  # type: ignore[return-value]  # all are filled

    def total(self, number: Tensor) -> Tensor:
        """Return the elementwise sum of a tensor over all processes, which hold tensors of one shape, without gradient."""
        total = number.detach().clone()
        if self.size > 1:
            distributed.all_reduce(total)
        return total

    def gather_rows(self, local: Tensor, count: int) -> Tensor:
        """Return the rows (count, ...) of all processes in order, from this process's share (L, ...).

        Gradients reach the rows of this process only.
        """
        if self.size == 1:
            return local
        sizes = [len(part) for part in np.array_split(np.arange(count), self.size)]
        padded = local.new_zeros((max(sizes), *local.shape[1:]))
        padded[: len(local)] = local.detach()
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        rows = [local if rank == self.rank else parts[rank][:size] for rank, size in enumerate(sizes)]
        return torch.cat(rows)

    def synchronise(self, network: nn.Module, device: Device) -> None:
        """Make a network's batch normalisation use the statistics of the images of all processes in training.

        Raises `UserError` for a layer that cannot be synchronised on CPUs.
        """
        if self.size == 1:
            return
        if device.cuda:
            convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # timm's keeps the activation in timm's own layers
            return
        for name, module in network.named_modules():
            if type(module) in SYNCED:
                module.__class__ = SYNCED[type(module)]  # torch's SyncBatchNorm runs on GPUs only
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                raise UserError(f"{name}: {type(module).__name__} cannot be trained by several workers on CPUs; use one worker")

    def parallel(self, model: nn.Module, device: Device) -> nn.Module:
        """Return the model, wrapped so that backward passes average its gradients over all processes."""
        if self.size == 1:
            return model
        return DistributedDataParallel(
            model, device_ids=[device.torch] if device.cuda else None, broadcast_buffers=False, static_graph=True
        )


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of inputs (B, C, ...) over the images of all processes, on CPUs.

    Ioffe and Szegedy 2015, arXiv:1502.03167, with mean and variance over the union of the processes' batches. torch's
    `SyncBatchNorm` runs on GPUs only.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Return the input, (B, C) or (B, C, H, W), normalised per channel."""
        if not self.training:
            return super().forward(input)
        axes = tuple(axis for axis in range(input.dim()) if axis != 1)
        shape = [-1 if axis == 1 else 1 for axis in range(input.dim())]
        count = _sum(input.new_tensor(input.numel() / input.shape[1]))
        mean = _sum(input.sum(axes)) / count
        centred = input - mean.view(shape)
        variance = _sum(centred.square().sum(axes)) / count
        self._update_running_statistics(mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        return normal * self.weight.view(shape) + self.bias.view(shape) if self.affine else normal

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        """Accept any number of dimensions."""

    def _update_running_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards the mean (C,) and unbiased variance (C,) of this batch."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class SyncedBatchNormAct2d(SyncedBatchNorm):
    """timm's batch normalisation with dropout and an activation, over the images (B, C, H, W) of all processes."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return the normalised and activated feature maps (B, C, H, W)."""
        activated: Tensor = self.act(self.drop(super().forward(input)))
        return activated


SYNCED: Mapping[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SyncedBatchNorm,
    nn.BatchNorm2d: SyncedBatchNorm,
    BatchNormAct2d: SyncedBatchNormAct2d,
}


def _sum(local: Tensor) -> Tensor:
    """Return the sum over all processes; gradients flow through it to all of them."""
    total: Tensor = all_reduce(local)  # type: ignore[no-untyped-call]
    return total
