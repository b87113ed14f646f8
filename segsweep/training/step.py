"""One optimiser step: forward, backward, update. If memory is short, the batch is split into micro-batches."""

import math

import torch
from torch import Tensor

from segsweep.models.segmentation_model import SegmentationModel
from segsweep.training.batch_source import BatchSource
from segsweep.training.checkpoint import TrainingState
from segsweep.training.device import Device
from segsweep.training.losses import Objective
from segsweep.training.lr_schedule import learning_rate_share
from segsweep.training.optimiser import clip_gradients
from segsweep.training.recipe import Recipe
from segsweep.training.world import World

LEAST_PIECE = 2  # images; batch normalisation cannot train on one


class Stepper:
    """The optimiser steps of one run.

    When a GPU runs out of memory, the batch is halved into micro-batches, repeatedly if needed, whose gradients add up to the
    gradient of the batch: the batch size of the optimiser does not change, and the gradient is clipped once. Batch normalisation
    then computes its statistics per micro-batch, and losses that need the batch as a whole, such as Dice, are averaged over the
    micro-batches. Workers that train one model together do not split their batches; they raise `torch.OutOfMemoryError`.
    """

    def __init__(
        self,
        state: TrainingState[SegmentationModel],
        recipe: Recipe,
        objective: Objective,
        batch_source: BatchSource,
        device: Device,
        world: World,
    ) -> None:
        self._state, self._recipe, self._objective, self._batch_source = state, recipe, objective, batch_source
        self._device, self._world = device, world
        self._parallel = world.parallel(state.model, device)
        self._rates = [float(group["lr"]) for group in state.optimizer.param_groups]
        self._released = 0
        self._pieces = 1
        self._statistics = [buffer for buffer in state.model.buffers() if buffer.is_floating_point()]
        self._kept = [buffer.clone() for buffer in self._statistics]

    @property
    def micro_batch(self) -> int:
        """The number of images in one forward pass."""
        return math.ceil(self._recipe.batch_size / self._pieces)

    def unfreeze(self, epoch: int) -> None:
        """Unfreeze the levels of a frozen encoder that are due at an epoch (0, 1, ...), the deepest first."""
        every, changed = self._recipe.unfreeze_every_epochs, False
        while every is not None and self._released < epoch // every and self._state.model.unfreeze_level():
            self._released, changed = self._released + 1, True
        if changed:
            self._parallel = self._world.parallel(self._state.model, self._device)

    def set_learning_rate(self, step: int, steps: int) -> float:
        """Set each group's learning rate for `step` of `steps`; return the head's."""
        share = learning_rate_share(self._recipe.schedule, step, steps, self._recipe.warmup)
        for group, rate in zip(self._state.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        return self._recipe.learning_rate * share

    def step(self, inputs: Tensor, masks: Tensor, count: int) -> Tensor:
        """Make one optimiser step, and return this process's share of the batch's loss, a scalar without gradient.

        Args:
            inputs: This process's L inputs of the batch, (L, 3, H, W) uint8 for images or (L, ...) for other batch sources.
            masks: (L, H, W), int64, their masks.
            count: Number of examples in the batch, over all processes.
        """
        _copy(self._statistics, self._kept)
        while (part := self._backward(inputs, masks, count)) is None:
            self._pieces *= 2
            _copy(self._kept, self._statistics)
            if self._device.cuda:
                torch.cuda.empty_cache()
        clip_gradients(self._state.model, self._recipe.gradient_clip_norm)
        self._state.optimizer.step()
        if self._state.average is not None:
            self._state.average.update_parameters(self._state.model)
        return part

    def _backward(self, inputs: Tensor, masks: Tensor, count: int) -> Tensor | None:
        """Compute the gradients of a batch, and return its loss; None if memory ran out and smaller micro-batches may fit."""
        self._state.optimizer.zero_grad(set_to_none=True)
        total, pieces = None, min(self._pieces, max(1, len(masks) // LEAST_PIECE))
        try:
            for micro_inputs, micro_masks in zip(inputs.tensor_split(pieces), masks.tensor_split(pieces), strict=True):
                with torch.autocast(self._device.torch.type, torch.bfloat16, enabled=self._recipe.precision == "bfloat16"):
                    logits_BCHW = self._parallel(self._batch_source.model_inputs(micro_inputs, self._recipe.normalisation))
                loss, part = self._objective.part(logits_BCHW.float(), micro_masks, masks, count, self._world)
                loss.backward()  # type: ignore[no-untyped-call]
                total = part if total is None else total + part
        except torch.OutOfMemoryError:
            if self._world.size > 1 or len(masks) < 2 * LEAST_PIECE * pieces:
                raise
            return None
        return total


def _copy(tensors: list[Tensor], to: list[Tensor]) -> None:
    if tensors:  # empty for networks without running statistics
        torch._foreach_copy_(to, tensors)  # one call for all tensors
