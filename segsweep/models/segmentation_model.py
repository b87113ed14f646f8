"""A segmentation model: any network, with its parts named and its forward pass divided into `encode` and `decode`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from segsweep.errors import UserError
from segsweep.models.encoder_levels import Levels, levels_by_features

Features = Any  # what an encoder returns: a tensor (B, C, H, W), or lists, tuples and dicts of tensors (B, ...)
Decode = Callable[[Any, Features, tuple[int, int]], Tensor]  # (network, features, size) -> the network's own output


@dataclass(frozen=True)
class Parts:
    """How the names of a network's weights begin, in its encoder and in its last classifier.

    `decode` computes what the network's own forward pass returns from what its encoder returns and the height and width of the
    images; None where only the names are known.

    `levels` says it for each level of the encoder, from input to output and without the encoder's own prefix, where that
    cannot be read off the encoder's feature maps.
    """

    encoder: str
    classifier: str | tuple[str, ...]
    levels: Levels | None = None
    decode: Decode | None = None


class SegmentationModel(nn.Module):
    """A network from images (B, 3, H, W) to logits (B, classes, H, W) whose parts can be held fixed.

    `network` keeps its own names, so its `state_dict` is that of the library it comes from. With `sigmoid_class` it gives one
    logit (B, 1, H, W), of that class of two, and the model 0 for the other: so the softmax of both is its sigmoid, the arg-max
    its sign, and cross-entropy its binary cross-entropy.
    """

    def __init__(self, network: nn.Module, parts: Parts, sigmoid_class: int | None = None) -> None:
        super().__init__()
        assert sigmoid_class in (None, 0, 1), sigmoid_class
        self.network = network
        self.parts = parts
        self.sigmoid_class = sigmoid_class
        self._held: tuple[str, ...] = ()
        self._held_in_train_mode = False

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits (B, classes, H, W): `decode` of `encode` where the network can be split."""
        if self.can_split:
            height, width = images_BCHW.shape[-2:]
            return self.decode(self.encode(images_BCHW), (height, width))
        output = self.network(images_BCHW)
        return self._of_all_classes(output["out"] if isinstance(output, dict) else output)  # torchvision's networks return a dict

    @property
    def can_split(self) -> bool:
        """Whether `encode` and `decode` exist: for all architectures but a user's own, of which only the names are known."""
        return self.parts.decode is not None

    def encode(self, images_BCHW: Tensor) -> Features:
        """Return all that `decode` needs of the images, in the form that the network's encoder returns.

        It is a tensor (denseaspp), a list of feature maps from fine to coarse (unet16 and most of smp), a dict of them
        (torchvision) or a pair of lists (dpt: feature maps and prefix tokens); the first dimension of each tensor is B. The first
        map of smp's encoders is the images themselves.
        """
        assert self.can_split
        return self.encoder(images_BCHW)

    def decode(self, features: Features, size: tuple[int, int]) -> Tensor:
        """Return the logits (B, classes, H, W) of images of `size` (H, W) from what `encode` returned for them."""
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
        """How the names of the parameters of each of the encoder's levels begin, from input to output.

        A name that ends in a dot stands for all below it, another one for itself; each parameter of the encoder lies in
        one level. Raises `UserError` for an encoder whose levels cannot be determined.
        """
        levels = self.parts.levels or levels_by_features(self.encoder)
        if levels is None:
            raise UserError(
                f"{type(self.encoder).__name__}: the levels of this encoder cannot be determined; freeze none or encoder"
            )
        return tuple(tuple(self.parts.encoder + name for name in level) for level in levels)

    def hold(self, names: Iterable[str], *, train_mode: bool = False) -> None:
        """Keep parts as they are: their parameters without gradient, their normalisation statistics unmoved by `.train()`.

        With `train_mode` `.train()` reaches all that is held: normalisation uses the statistics of the batch and its running
        ones move, and dropout acts. A name that ends in a dot is a module of the network, another one a parameter.
        """
        names, self._held_in_train_mode = tuple(names), train_mode
        for name in names:
            self._part(name).requires_grad_(False)
        self._held = (*self._held, *names)
        self.train(self.training)

    def holds_statistics(self, module: str) -> bool:
        """Return whether a module of the network, by its name, normalises by running statistics that training does not move."""
        held = tuple(name for name in self._held if name.endswith("."))
        return not self._held_in_train_mode and f"{module}.".startswith(held)

    def release_level(self) -> bool:
        """Release the deepest level of the encoder that is held, and return whether there was one.

        Its parameters get gradients again and its normalisation statistics move again.
        """
        levels = self.encoder_levels
        if self.parts.encoder in self._held:
            self._held = (
                *(name for name in self._held if name != self.parts.encoder),
                *(part for level in levels for part in level),
            )
        held = [level for level in levels if set(level) <= set(self._held)]
        if not held:
            return False
        for name in held[-1]:
            self._part(name).requires_grad_(True)
        self._held = tuple(name for name in self._held if name not in held[-1])
        self.train(self.training)
        return True

    def _part(self, name: str) -> nn.Module | nn.Parameter:
        return self.network.get_submodule(name[:-1]) if name.endswith(".") else self.network.get_parameter(name)

    def train(self, mode: bool = True) -> "SegmentationModel":
        """Set the mode of everything but the parts held fixed, which stay in eval mode unless they are held in train mode."""
        super().train(mode)
        for part in map(self._part, () if self._held_in_train_mode else self._held):
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def trainable(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that training moves."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def parameter_counts(self) -> tuple[int, int]:
        """Return how many parameters are trained, and how many there are."""
        return sum(p.numel() for p in self.trainable()), sum(p.numel() for p in self.parameters())
