"""A segmentation model: any network, with its parts named."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Parts:
    """How the names of a network's weights begin, in its encoder and in its last classifier."""

    encoder: str
    classifier: str


class SegmentationModel(nn.Module):
    """A network from images (B, 3, H, W) to logits (B, classes, H, W) whose parts can be held fixed.

    `network` keeps its own names, so its `state_dict` is that of the library it comes from.
    """

    def __init__(self, network: nn.Module, parts: Parts) -> None:
        super().__init__()
        self.network = network
        self.parts = parts
        self._held: tuple[nn.Module, ...] = ()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits (B, classes, H, W)."""
        logits: Tensor = self.network(images_BCHW)
        return logits

    @property
    def encoder(self) -> nn.Module:
        """The encoder."""
        return self.network.get_submodule(self.parts.encoder.rstrip("."))

    def hold(self, module: nn.Module) -> None:
        """Keep a part as it is: its parameters without gradient, its normalisation statistics unmoved by `.train()`."""
        module.requires_grad_(False)
        self._held = (*self._held, module)
        self.train(self.training)

    def train(self, mode: bool = True) -> "SegmentationModel":
        """Set the mode of everything but the parts held fixed, which stay in eval mode."""
        super().train(mode)
        for module in self._held:
            module.eval()
        return self

    def trainable(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that training moves."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def parameter_counts(self) -> tuple[int, int]:
        """Return how many parameters are trained, and how many there are."""
        return sum(p.numel() for p in self.trainable()), sum(p.numel() for p in self.parameters())
