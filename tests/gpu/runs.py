"""One training run, as a trial does it."""

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.models.segmentation_model import SegmentationModel
from segsweep.training.batches import PictureSet
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
    """Return a recipe: the standard one with some values changed."""
    return Recipe(length=Length(None if steps else epochs, steps, validations), **{**STANDARD, **values})


@dataclass
class Run:
    """A run of a recipe on a device over one checkpoint; calling `go` again resumes, with everything built anew."""

    name: str
    sets: Sequence[PictureSet]
    recipe: Recipe
    device: Device
    checkpoint: Path
    policy: str = "none"
    seed: int = 3
    world: World = field(default_factory=World)
    state: TrainingState[SegmentationModel] | None = None

    def go(self, results: int | None = None) -> list[EpochResult]:
        """Train until there are this many results, then stop; to the end for None."""
        running = self.stream()
        found = list(itertools.islice(running, results))
        running.close()
        return found

    def stream(self) -> Generator[EpochResult, None, None]:
        """Train and yield each result."""
        model = build_model(self.name, len(self.sets[0].data.classes), seed=0)
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


def without_chance(model: nn.Module) -> None:
    """Turn off dropout and stochastic depth, which draw otherwise on each device."""
    for module in model.modules():
        for name in ("p", "drop_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
