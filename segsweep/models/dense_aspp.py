"""DenseASPP (Yang et al. 2018, "DenseASPP for Semantic Segmentation in Street Scenes") on a dilated DenseNet, and its cut form.

The order of convolution, normalisation and ReLU, the biases and the dropout follow the public implementation on which the study
of the cut form is based, and reproduce its published parameter counts:
https://github.com/Tramac/awesome-semantic-segmentation-pytorch/blob/24491c00c4b75e6823f801b3658e3e2237ce86e4/core/models/denseaspp.py
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from segsweep.models.dilated_densenet import DilatedDenseNet

RATES: Mapping[str, tuple[int, ...]] = {"denseaspp": (3, 6, 12, 18, 24), "cutdenseaspp": (3, 6, 12)}
INNER_CHANNELS = 256
GROWTH_CHANNELS = 64
DROPOUT = 0.1


def _atrous(inputs: int, rate: int) -> nn.Sequential:
    """Return a 1x1 convolution to the inner channels, and a dilated 3x3 convolution to the growth channels."""
    return nn.Sequential(
        nn.Conv2d(inputs, INNER_CHANNELS, 1),
        nn.BatchNorm2d(INNER_CHANNELS),
        nn.ReLU(inplace=True),
        nn.Conv2d(INNER_CHANNELS, GROWTH_CHANNELS, 3, padding=rate, dilation=rate),
        nn.BatchNorm2d(GROWTH_CHANNELS),
        nn.ReLU(inplace=True),
        nn.Dropout(DROPOUT),
    )


class DenseASPP(nn.Module):
    """DenseASPP: images (B, 3, H, W) to logits (B, classes, H, W).

    A dilated DenseNet, atrous convolutions of growing `rates` with dense connections, and a 1x1 classifier.
    """

    def __init__(self, densenet: str, rates: Sequence[int], classes: int) -> None:
        super().__init__()
        self.encoder = DilatedDenseNet(densenet)
        channels = [self.encoder.channels + GROWTH_CHANNELS * before for before in range(len(rates) + 1)]
        self.aspp = nn.ModuleList(_atrous(inputs, rate) for inputs, rate in zip(channels, rates, strict=False))
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Conv2d(channels[-1], classes, 1)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) of images (B, 3, H, W), upsampled bilinearly from an eighth of the size."""
        height, width = images_BCHW.shape[-2:]
        return self.decode(self.encoder(images_BCHW), (height, width))

    def decode(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Return logits (B, classes, H, W) of images of `size` (H, W) from the encoder's features (B, C, H/8, W/8)."""
        for atrous in self.aspp:
            x = torch.cat([atrous(x), x], dim=1)
        logits = self.classifier(self.dropout(x))
        return nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
