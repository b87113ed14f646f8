"""A second self-supervised method, as small as possible: distinguish an image from its darkened copy."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segsweep.data.splits import Indices
from segsweep.models.pooled import feature_channels, pooled_features
from segsweep.training.self_supervised_method import Method, PretrainingRecipe
from segsweep.training.world import World


class Darkened(Method):
    """An encoder, the mean of its deepest feature map, and one linear layer to two logits: unchanged, or darkened."""

    def __init__(self, encoder: nn.Module, image_px: int) -> None:
        super().__init__()
        self.network = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(feature_channels(encoder, image_px), 2)})

    def views(self, images_BCHW: Tensor, count: int, rows: Indices, chance: torch.Generator) -> Tensor:
        """Return the images, followed by copies at half to three quarters of the brightness."""
        factors_B = (0.5 + 0.25 * torch.rand(count, generator=chance))[torch.from_numpy(rows)].to(images_BCHW.device)
        return torch.cat([images_BCHW, (images_BCHW * factors_B[:, None, None, None]).to(torch.uint8)])

    def forward(self, views: Tensor) -> Tensor:
        """Return two logits per view (2B, 2)."""
        logits: Tensor = self.network["head"](pooled_features(self.network["encoder"], views))
        return logits

    def loss(self, output: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy over the batch of all processes, and the share of correctly classified views."""
        logits = torch.cat([world.gather_rows(half, count) for half in output.chunk(2)])
        truth = torch.arange(2, device=logits.device).repeat_interleave(count)
        return functional.cross_entropy(logits, truth), (logits.argmax(dim=1) == truth).float().mean()


def build(encoder: nn.Module, recipe: PretrainingRecipe) -> Darkened:
    """Return the method around an encoder."""
    return Darkened(encoder, recipe.image_px)
