"""SimCLR (Chen et al. 2020, arXiv:2002.05709): two views of an image are to be found among the views of all others."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from segsweep.data.splits import Indices
from segsweep.models.pooled import feature_channels, pooled_features
from segsweep.training.augment import Augmentation, augment, draw
from segsweep.training.self_supervised_method import Method, PretrainingRecipe
from segsweep.training.world import World

EMBEDDING = 128  # numbers a view
VIEWS = Augmentation(  # appendix A of the paper, colour distortion at strength 1
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
    """An encoder, the mean of its deepest feature map, and a projection of two layers to 128 numbers.

    The projection is that of the authors' code with two layers: linear without bias, as wide as the features, batch
    normalisation and ReLU; then linear without bias to 128 numbers, and batch normalisation with a scale but no offset:
    https://github.com/google-research/simclr/blob/244e7128004c5fd3c7805cf3135c79baa6c3bb96/model_util.py
    (`projection_head` and `linear_layer`). Its weights begin as torch's defaults; the authors draw theirs with a deviation of
    0.01, which the normalisation behind each layer takes out.
    """

    def __init__(self, encoder: nn.Module, image_px: int, temperature: float) -> None:
        super().__init__()
        channels = feature_channels(encoder, image_px)
        self.network = nn.ModuleDict({"encoder": encoder, "projection": projection_head(channels)})
        self.temperature = temperature

    def views(self, images_BCHW: Tensor, count: int, rows: Indices, chance: torch.Generator) -> Tensor:
        """Return two views of every image (2B, 3, H, W): all the first ones, then all the second ones."""
        no_mask = images_BCHW.new_zeros((len(images_BCHW), 1, 1), dtype=torch.long)
        drawn = [draw(VIEWS, count, chance).rows(rows) for _ in range(2)]
        return torch.cat([augment(VIEWS, images_BCHW, no_mask, each)[0] for each in drawn])

    def forward(self, views: Tensor) -> Tensor:
        """Return what a view is projected to (2B, 128)."""
        projected: Tensor = self.network["projection"](pooled_features(self.network["encoder"], views))
        return projected

    def loss(self, output: Tensor, count: int, world: World) -> tuple[Tensor, Tensor]:
        """Return NT-Xent over the batch of all processes, and the share of views whose other view is the most similar."""
        first, second = (world.gather_rows(half, count) for half in output.chunk(2))
        return nt_xent(first, second, self.temperature)


def projection_head(channels: int) -> nn.Sequential:
    """Return the two layers that project features (B, channels) to embeddings (B, 128); the last has no offset to train."""
    last = nn.BatchNorm1d(EMBEDDING)
    last.bias.requires_grad_(False)  # stays 0; torch's layer has both or neither
    return nn.Sequential(
        nn.Linear(channels, channels, bias=False),
        nn.BatchNorm1d(channels),
        nn.ReLU(inplace=True),
        nn.Linear(channels, EMBEDDING, bias=False),
        last,
    )


def nt_xent(first_BD: Tensor, second_BD: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the normalised temperature-scaled cross-entropy of two views of B images, and the share matched rightly.

    Each of the 2B embeddings is to be most similar, by the cosine, to the other view of its image among all 2B - 1 others.
    Equation 1 of Chen et al. 2020 (arXiv:2002.05709), the mean over all 2B. Both are scalars.
    """
    views = functional.normalize(torch.cat([first_BD, second_BD]), dim=1)
    similar = (views @ views.T / temperature).fill_diagonal_(-torch.inf)
    other = torch.arange(len(views), device=views.device).roll(len(first_BD))
    return functional.cross_entropy(similar, other), (similar.argmax(dim=1) == other).float().mean()


def build(encoder: nn.Module, recipe: PretrainingRecipe) -> SimCLR:
    """Return SimCLR around an encoder."""
    return SimCLR(encoder, recipe.image_px, recipe.temperature)
