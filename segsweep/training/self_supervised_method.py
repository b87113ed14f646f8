"""A method that trains an encoder without labels: what the loop calls, and its settings."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Self

import torch
from torch import Tensor, nn

from segsweep.config.digest import seed_for
from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.config.stage_kinds import STAGE_KINDS
from segsweep.config.user_objects import user_object
from segsweep.config.user_text import PREFIX
from segsweep.data.splits import Indices
from segsweep.training.recipe import Length
from segsweep.training.world import World


@dataclass(frozen=True)
class PretrainingRecipe:
    """Settings of the loop. The fields are the `ssl_` settings of `segsweep.config.Settings`, and explained there."""

    length: Length
    image_px: int
    learning_rate: float
    batch_size: int
    optimizer: str
    weight_decay: float
    warmup: float
    temperature: float
    precision: str
    normalisation: Normalisation = IMAGENET
    gradient_clip_norm: float | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any], normalisation: Normalisation = IMAGENET) -> Self:
        """Return the recipe that settings mean."""
        assert settings["precision"] != "auto"
        names = {field.name for field in fields(cls)} & set(settings) - {"normalisation"}
        length = Length(settings["epochs"], settings["steps"], settings["validations"])
        return cls(length=length, normalisation=normalisation, **{name: settings[name] for name in names})


class Method(nn.Module, ABC):
    """A method that trains an encoder without labels. `network` holds all weights, those of the encoder under `encoder`.

    A study file brings a method as a `segsweep.SelfSupervisedMethod`. A method of the package is one file that defines
    `build(encoder, recipe) -> Method`, and one row of `segsweep.config.stage_kinds.STAGE_KINDS`. The tests of either inherit
    `tests/contracts/self_supervised.py`.
    """

    network: nn.ModuleDict

    @abstractmethod
    def views(self, images_BCHW: Tensor, count: int, rows: Indices, chance: torch.Generator) -> Tensor:
        """Return V views of each of the images (B, 3, H, W), uint8: (V * B, 3, H, W), uint8, all first views first.

        The images are those at the positions `rows` of a batch of `count`. A method draws from `chance` for the whole batch, so
        that a process sees the same views whatever its share.
        """

    @abstractmethod
    def forward(self, views: Tensor) -> Tensor:
        """Return what the loss needs of normalised views, floats."""

    @abstractmethod
    def loss(self, output: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch of `count` images, and the share of views matched correctly (NaN without matching).

        `output` are the rows of this process. Both values are those of the whole batch in every process of a world, and
        gradients reach the rows of this one.
        """

    def after_step(self) -> None:  # most methods need none
        """Update what an optimiser step does not, such as a moving average of the encoder."""


def build_method(kind: str, encoder: nn.Module, recipe: PretrainingRecipe, seed: int) -> Method:
    """Return the method of a kind of stage around an encoder; its other weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for("method", kind, seed))
        method: Method = _builder(kind)(encoder, recipe)
    return method


def _builder(kind: str) -> Callable[[nn.Module, PretrainingRecipe], Method]:
    """Return the function that builds the method of a kind of stage."""
    build: Callable[[nn.Module, PretrainingRecipe], Method]
    if kind.startswith(PREFIX):
        build = user_object(kind).build
    else:
        module = STAGE_KINDS[kind].method
        assert module is not None
        build = import_module(module).build
    return build
