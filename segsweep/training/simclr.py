"""SimCLR (Chen et al. 2020, arXiv:2002.05709): match the two views of an image among the views of all images of a batch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segsweep.data.splits import Indices
from segsweep.models.pooled import feature_channels, pooled_features
from segsweep.training.augment import Augmentation, augment, draw
from segsweep.training.self_supervised_method import Method, PretrainingRecipe
from segsweep.training.world import World

EMBEDDING = 128  # dimensions of a projected view
VIEWS = Augmentation(  # appendix A of the paper, with colour distortion of strength 1
    flip=0.5,
    crop_area=(0.08, 1.0),
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    jitter_chance=0.8,
    grey=0.2,
    blur_sigma_px=(0.1, 2.0),
    blur_chance=0.5,
    blur_kernel=0.1,
)


class SimCLR(Method):
    """SimCLR: an encoder, global average pooling of its deepest feature map, and a projection head with 128 outputs.

    The head is the one of the authors' code with two layers: linear without bias, as wide as the features, batch normalisation
    and ReLU; then linear without bias to 128 outputs, and batch normalisation with a scale but no offset:
    https://github.com/google-research/simclr/blob/244e7128004c5fd3c7805cf3135c79baa6c3bb96/model_util.py (`projection_head` and
    `linear_layer`). Its weights are initialised by torch's defaults. The authors use a standard deviation of 0.01, but the
    normalisation after each layer removes the scale.
    """

    def __init__(self, encoder: nn.Module, image_px: int, temperature: float) -> None:
        super().__init__()
        channels = feature_channels(encoder, image_px)
        self.network = nn.ModuleDict({"encoder": encoder, "projection": projection_head(channels)})
        self.temperature = temperature

    def views(self, images_BCHW: Tensor, count: int, rows: Indices, chance: torch.Generator) -> Tensor:
        """Return two views of each image, (2 * B, 3, H, W) uint8: all first views, then all second views."""
        no_mask = images_BCHW.new_zeros((len(images_BCHW), 1, 1), dtype=torch.long)
        drawn = [draw(VIEWS, count, chance).rows(rows) for _ in range(2)]
        return torch.cat([augment(VIEWS, images_BCHW, no_mask, each)[0] for each in drawn])

    def forward(self, views: Tensor) -> Tensor:
        """Return the projections (2 * B, 128) of normalised views (2 * B, 3, H, W)."""
        projected: Tensor = self.network["projection"](pooled_features(self.network["encoder"], views))
        return projected

    def loss(self, output: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
        """Return NT-Xent over the batch of all processes, and the share of views whose nearest view is of the same image.

        `output` (2 * L, 128) holds the projections of this process's L of the `count` images. Both results are scalars.
        """
        first, second = (world.gather_rows(half, count) for half in output.chunk(2))
        return nt_xent(first, second, self.temperature)


def projection_head(channels: int) -> nn.Sequential:
    """Return the two layers that project features (B, channels) to embeddings (B, 128); the last has no trainable offset."""
    last = nn.BatchNorm1d(EMBEDDING)
    last.bias.requires_grad_(False)  # stays 0, since torch's layer has both scale and offset or neither
    return nn.Sequential(
        nn.Linear(channels, channels, bias=False),
        nn.BatchNorm1d(channels),
        nn.ReLU(inplace=True),
        nn.Linear(channels, EMBEDDING, bias=False),
        last,
    )


def nt_xent(first_BD: Tensor, second_BD: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the normalised temperature-scaled cross-entropy (NT-Xent) of two views of B images, and the matched share.

    Equation 1 of Chen et al. 2020 (arXiv:2002.05709), averaged over all 2B views: each embedding is classified by cosine
    similarity among the 2B - 1 others, and the right class is the other view of its image.

    Args:
        first_BD: (B, D), float, embeddings of the first views. They need not be normalised.
        second_BD: (B, D), float, embeddings of the second views, in the same order.
        temperature: Divisor of the similarities, positive.

    Returns:
        The loss, and the share of views in 0..1 that are matched correctly: two float scalars.
    """
    views = functional.normalize(torch.cat([first_BD, second_BD]), dim=1)
    similar = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    other = torch.arange(len(views), device=views.device).roll(len(first_BD))
    return functional.cross_entropy(similar, other), (similar.argmax(dim=1) == other).float().mean()


def build(encoder: nn.Module, recipe: PretrainingRecipe) -> SimCLR:
    """Return SimCLR for an encoder, with the image size and temperature of a recipe."""
    return SimCLR(encoder, recipe.image_px, recipe.temperature)
