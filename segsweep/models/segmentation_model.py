"""A segmentation model: a network with named parts, whose forward pass is divided into `encode` and `decode`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from segsweep.errors import UserError
from segsweep.models.encoder_levels import Levels, levels_by_features

Features = Any  # an encoder's output: a tensor (B, C, H, W), or lists, tuples and dicts of tensors (B, ...)
Decode = Callable[[Any, Features, tuple[int, int]], Tensor]  # (network, features, size) -> the network's output


@dataclass(frozen=True)
class Parts:
    """Name prefixes of a network's weights in its encoder and in its last classifier.

    `levels` holds the prefixes of each level of the encoder, from input to output, without the encoder's prefix; None if they can
    be derived from the encoder's feature maps. `decode` computes the output of the network's forward pass from the encoder's
    output and the height and width of the images; None if only the names are known.
    """

    encoder: str
    classifier: str | tuple[str, ...]
    levels: Levels | None = None
    decode: Decode | None = None


class SegmentationModel(nn.Module):
    """A network from normalised images (B, 3, H, W), float32, to logits (B, classes, H, W), whose parts can be frozen.

    `network` keeps its own names, so its `state_dict` is that of the library that defines it. With `sigmoid_class`, the network
    has one logit (B, 1, H, W), that of this class of two, and the model adds 0 as the logit of the other class. The softmax of
    both is then the sigmoid of the logit, the arg-max its sign, and the cross-entropy its binary cross-entropy.
    """

    def __init__(self, network: nn.Module, parts: Parts, sigmoid_class: int | None = None) -> None:
        super().__init__()
        assert sigmoid_class in (None, 0, 1), sigmoid_class
        self.network = network
        self.parts = parts
        self.sigmoid_class = sigmoid_class
        self._frozen: tuple[str, ...] = ()
        self._frozen_in_train_mode = False

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits (B, classes, H, W) of images (B, 3, H, W): `decode` of `encode` if the network can be split."""
        if self.can_split:
            height, width = images_BCHW.shape[-2:]
            return self.decode(self.encode(images_BCHW), (height, width))
        output = self.network(images_BCHW)
        return self._of_all_classes(output["out"] if isinstance(output, dict) else output)  # torchvision's networks return a dict

    @property
    def can_split(self) -> bool:
        """Whether `encode` and `decode` exist: for all architectures except a user's, of which only the names are known."""
        return self.parts.decode is not None

    def encode(self, images_BCHW: Tensor) -> Features:
        """Return the encoder's output for images (B, 3, H, W), which is the input of `decode`.

        It is a tensor (denseaspp), a list of feature maps (B, C, h, w) from fine to coarse (unet16 and most of smp), a dictionary
        of them (torchvision), or a pair of lists (dpt: feature maps and prefix tokens). The first dimension of each tensor is B.
        The first map of smp's encoders is the images.
        """
        assert self.can_split
        return self.encoder(images_BCHW)

    def decode(self, features: Features, size: tuple[int, int]) -> Tensor:
        """Return the logits (B, classes, H, W) of images of `size` (H, W) from the output of `encode` for them."""
        assert self.parts.decode is not None
        return self._of_all_classes(self.parts.decode(self.network, features, size))

    def _of_all_classes(self, logits: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) from those of the network, which may be one logit of two classes."""
        if self.sigmoid_class is None:
            return logits
        pair = (torch.zeros_like(logits), logits)
        return torch.cat(pair if self.sigmoid_class == 1 else pair[::-1], dim=1)

    @property
    def encoder(self) -> nn.Module:
        """The encoder."""
        return self.network.get_submodule(self.parts.encoder.rstrip("."))

    @cached_property
    def encoder_levels(self) -> Levels:
        """The parameter names of each level of the encoder, from input to output.

        A name that ends in a dot is a module and covers all parameters below it; other names are parameters. Each parameter of
        the encoder belongs to one level. Raises `UserError` for an encoder whose levels cannot be determined.
        """
        levels = self.parts.levels or levels_by_features(self.encoder)
        if levels is None:
            raise UserError(
                f"{type(self.encoder).__name__}: the levels of this encoder cannot be determined; use freeze none or encoder"
            )
        return tuple(tuple(self.parts.encoder + name for name in level) for level in levels)

    def freeze_parts(self, names: Iterable[str], *, train_mode: bool = False) -> None:
        """Freeze parts of the network: their parameters need no gradient, and they stay in eval mode in spite of `.train()`.

        A name that ends in a dot is a module of the network; other names are parameters. With `train_mode`, `.train()` sets the
        mode of frozen parts too: normalisation uses the statistics of the batch and updates its running statistics, and dropout
        is active.
        """
        names, self._frozen_in_train_mode = tuple(names), train_mode
        for name in names:
            self._part(name).requires_grad_(False)
        self._frozen = (*self._frozen, *names)
        self.train(self.training)

    def freezes_statistics(self, module: str) -> bool:
        """Return whether a module of the network, by its name, is frozen and normalises by fixed running statistics."""
        frozen = tuple(name for name in self._frozen if name.endswith("."))
        return not self._frozen_in_train_mode and f"{module}.".startswith(frozen)

    def unfreeze_level(self) -> bool:
        """Unfreeze the deepest frozen level of the encoder, and return whether there was one.

        Its parameters get gradients again, and training updates its normalisation statistics again.
        """
        levels = self.encoder_levels
        if self.parts.encoder in self._frozen:
            self._frozen = (
                *(name for name in self._frozen if name != self.parts.encoder),
                *(part for level in levels for part in level),
            )
        frozen = [level for level in levels if set(level) <= set(self._frozen)]
        if not frozen:
            return False
        for name in frozen[-1]:
            self._part(name).requires_grad_(True)
        self._frozen = tuple(name for name in self._frozen if name not in frozen[-1])
        self.train(self.training)
        return True

    def _part(self, name: str) -> nn.Module | nn.Parameter:
        return self.network.get_submodule(name[:-1]) if name.endswith(".") else self.network.get_parameter(name)

    def train(self, mode: bool = True) -> "SegmentationModel":
        """Set the mode of the model. Frozen parts stay in eval mode, unless they were frozen with `train_mode`."""
        super().train(mode)
        for part in map(self._part, () if self._frozen_in_train_mode else self._frozen):
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def trainable(self) -> Iterator[nn.Parameter]:
        """Yield the trainable parameters."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def parameter_counts(self) -> tuple[int, int]:
        """Return the number of trainable parameters and of all parameters."""
        return sum(p.numel() for p in self.trainable()), sum(p.numel() for p in self.parameters())
