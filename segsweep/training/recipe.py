"""Settings of the training loop."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from segsweep.config.normalisation import IMAGENET, Normalisation


@dataclass(frozen=True)
class Length:
    """Length of a run: in `epochs`, or in optimiser `steps` with a number of equally spaced `validations`."""

    epochs: int | None
    steps: int | None
    validations: int | None

    @property
    def results(self) -> int:
        """The number of results that a full run yields."""
        return self.epochs or self.validations or 1

    def end_step(self, result: int, steps_per_epoch: int) -> int:
        """Return the number of optimiser steps after which a result is due; result 0 is the start."""
        if self.steps is None:
            return result * steps_per_epoch
        return result * self.steps // self.results


@dataclass(frozen=True)
class Recipe:
    """Settings of the training loop. Fields and defaults are those of `segsweep.config.Settings`, which documents them.

    `normalisation` holds the values to which the setting resolves for the data and the source of this run.
    """

    length: Length
    learning_rate: float
    batch_size: int
    loss: str
    optimizer: str
    weight_decay: float
    augmentation: str
    precision: str
    augmented_copies: int = 0
    normalisation: Normalisation = IMAGENET
    encoder_lr_factor: float = 1.0
    layer_decay: float = 1.0
    schedule: str = "constant"
    warmup: float = 0.0
    momentum: float = 0.9
    gradient_clip_norm: float | None = None
    ema: float | None = None
    unfreeze_every_epochs: int | None = None
    patience_epochs: int | None = None
    keep: str = "val_iou"

    @property
    def by_level(self) -> bool:
        """Whether the levels of the encoder have different learning rates or are unfrozen at different epochs."""
        return self.encoder_lr_factor != 1 or self.layer_decay != 1 or self.unfreeze_every_epochs is not None

    @classmethod
    def of(cls, settings: Mapping[str, Any], normalisation: Normalisation = IMAGENET) -> Self:
        """Return the recipe of some settings; settings that are missing have their defaults."""
        assert settings["precision"] != "auto"
        names = {field.name for field in fields(cls)} & set(settings) - {"normalisation"}
        length = Length(settings["epochs"], settings["steps"], settings["validations"])
        return cls(length=length, normalisation=normalisation, **{name: settings[name] for name in names})
