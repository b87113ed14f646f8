"""The interface of a self-supervised method, which trains an encoder without labels, and its settings."""

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
    """Settings of the loop. The fields are the `ssl_` settings of `segsweep.config.Settings`, which documents them."""

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
        """Return the recipe of some settings."""
        assert settings["precision"] != "auto"
        names = {field.name for field in fields(cls)} & set(settings) - {"normalisation"}
        length = Length(settings["epochs"], settings["steps"], settings["validations"])
        return cls(length=length, normalisation=normalisation, **{name: settings[name] for name in names})


class Method(nn.Module, ABC):
    """A self-supervised method. `network` holds all its weights, those of the encoder under the name `encoder`.

    `views` maps images (B, 3, H, W) to V views of each (V * B, 3, H, W), `forward` maps normalised views to an output, and `loss`
    maps the output to a scalar.

    A study file adds a method as a `segsweep.SelfSupervisedMethod`. To add one to the package, write one file that defines
    `build(encoder, recipe) -> Method`, and add one row to `segsweep.config.stage_kinds.STAGE_KINDS`. The tests of either inherit
    `tests/contracts/self_supervised.py`.
    """

    network: nn.ModuleDict

    @abstractmethod
    def views(self, images_BCHW: Tensor, count: int, rows: Indices, chance: torch.Generator) -> Tensor:
        """Return V views of each image, (V * B, 3, H, W) uint8: all first views, then all second views, and so on.

        Args:
            images_BCHW: (B, 3, H, W), uint8, this process's images of a batch.
            count: Number of images in the batch, over all processes.
            rows: (B,), int64, positions of this process's images in the batch.
            chance: Generator of random numbers. Draw for the whole batch, so that an image has the same views whichever process
                holds it.
        """

    @abstractmethod
    def forward(self, views: Tensor) -> Tensor:
        """Return the input of `loss`, (V * B, ...), for normalised views (V * B, 3, H, W), float32."""

    @abstractmethod
    def loss(self, output: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and the share of correctly matched views (NaN if the method matches none), two scalars.

        Both values are those of the whole batch in every process of a world; gradients reach the rows of this process only.

        Args:
            output: (V * B, ...), float32, the result of `forward` for this process's images.
            count: Number of images in the batch, over all processes.
            world: The processes that share the batch.
        """

    def after_step(self) -> None:  # most methods need none
        """Update state that the optimiser does not, such as a moving average of the encoder."""


def build_method(kind: str, encoder: nn.Module, recipe: PretrainingRecipe, seed: int) -> Method:
    """Return the self-supervised method of a kind of stage for an encoder. Its other weights depend on the seed only."""
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
