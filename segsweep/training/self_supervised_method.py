"""A way to train an encoder without labels: what every method owes the loop, and what it is told."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any, Self

import torch
from torch import Tensor, nn

from segsweep.config.digest import seed_for
from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.config.stage_kinds import STAGE_KINDS
from segsweep.data.splits import Indices
from segsweep.training.recipe import Length
from segsweep.training.world import World


@dataclass(frozen=True)
class PretrainingRecipe:
    """What the loop is told. The fields are the `ssl_` settings of `segsweep.config.Settings`, and explained there."""

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
    """A way to learn an encoder without labels. `network` holds all that is trained, the encoder under `encoder`.

    A method is one file that defines `build(encoder, recipe) -> Method`, and one row of
    `segsweep.config.stage_kinds.STAGE_KINDS`.
    """

    network: nn.ModuleDict

    @abstractmethod
    def views(self, images_BCHW: Tensor, count: int, own: Indices, chance: torch.Generator) -> Tensor:
        """Return what the network is shown of images (B, 3, H, W), uint8: any number of views of each, uint8 too.

        The images are those of a batch of `count` at the places `own`; drawing for the whole batch from `chance` has
        every process see what one alone would.
        """

    @abstractmethod
    def forward(self, views: Tensor) -> Tensor:
        """Return from normalised views, floats, what the loss needs."""

    @abstractmethod
    def loss(self, output: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch of `count` images, and the share of views that were matched rightly (NaN for none).

        Both are those of the whole batch, on every process of a world, with gradients to its own rows.
        """

    def after_step(self) -> None:  # most have nothing to do
        """Do what is to be done after an optimiser step, as moving an average of the encoder along."""


def build_method(kind: str, encoder: nn.Module, recipe: PretrainingRecipe, seed: int) -> Method:
    """Return the method of a kind of stage, around an encoder; what it adds is drawn from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for("method", kind, seed))
        module = STAGE_KINDS[kind].method
        assert module is not None
        method: Method = import_module(module).build(encoder, recipe)
    return method
