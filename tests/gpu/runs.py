"""One training run, as a trial does it."""

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.training.batches import ImageSet
from segsweep.training.calibrate import calibrate
from segsweep.training.checkpoint import TrainingState
from segsweep.training.device import Device
from segsweep.training.loop import EpochResult, start_state, train
from segsweep.training.recipe import Length, Recipe
from segsweep.training.world import World

STANDARD: dict[str, Any] = {
    "learning_rate": 1e-3,
    "batch_size": 8,
    "loss": "cross_entropy",
    "optimizer": "adam",
    "weight_decay": 0.0,
    "augmentation": "flip",
    "precision": "float32",
}


def recipe_of(epochs: int | None = 3, steps: int | None = None, validations: int | None = None, **values: Any) -> Recipe:
    """Return the standard recipe with some values changed."""
    return Recipe(length=Length(None if steps else epochs, steps, validations), **{**STANDARD, **values})


@dataclass
class Run:
    """A run of a recipe on a device with one checkpoint; calling `go` again builds everything again and resumes.

    `perturbation` is the relative standard deviation of a change of the initial weights: its effect on the losses measures the
    run's sensitivity to rounding.
    """

    name: str
    sets: Sequence[ImageSet]
    recipe: Recipe
    device: Device
    checkpoint: Path
    policy: str = "none"
    seed: int = 3
    world: World = field(default_factory=World)
    perturbation: float = 0.0
    state: TrainingState[SegmentationModel] | None = None

    def go(self, results: int | None = None) -> list[EpochResult]:
        """Train until there are this many results, then stop; None trains to the end."""
        running = self.stream()
        found = list(itertools.islice(running, results))
        running.close()
        return found

    def stream(self) -> Generator[EpochResult, None, None]:
        """Train and yield each result."""
        model = build_model(self.name, len(self.sets[0].data.classes), seed=0)
        perturb(model, self.perturbation)
        freeze(model, self.policy)
        calibrate(model, (), self.sets[0], self.recipe.normalisation, seed=self.seed, device=self.device, world=self.world)
        self.state = start_state(model, self.recipe, self.device, self.checkpoint, self.world)
        yield from train(
            self.state,
            *self.sets,
            self.recipe,
            seed=self.seed,
            device=self.device,
            checkpoint=self.checkpoint,
            world=self.world,
        )


def largest_difference(one: Sequence[EpochResult], other: Sequence[EpochResult]) -> float:
    """Return the largest relative difference of the losses of two runs."""
    pairs = [(getattr(a, name), getattr(b, name)) for a, b in zip(one, other, strict=True) for name in ("train_loss", "val_loss")]
    return max(abs(a - b) / max(abs(a), abs(b), 1e-9) for a, b in pairs)


def perturb(model: nn.Module, relative: float) -> None:
    """Multiply every weight by 1 plus normal noise of this standard deviation."""
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters() if relative else ():
            parameter.mul_(1 + relative * torch.randn(parameter.shape, generator=chance))


def without_chance(model: nn.Module) -> None:
    """Turn off dropout and stochastic depth, whose random numbers differ between devices."""
    for module in model.modules():
        for name in ("p", "drop_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
