"""The plain U-Net (Ronneberger et al. 2015, arXiv:1505.04597), with padded convolutions, with and without batch normalisation.

The paper has neither padding nor batch normalisation. Padding preserves the image size. Batch normalisation, which most later
U-Nets have, is needed to see differences between sources on a small share of a small dataset within a few epochs.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

LEVELS = 5


def _block(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    """Return two 3x3 convolutions, each followed by batch normalisation if `norm`, and a ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):  # batch normalisation removes a bias, whose gradient would be rounding noise
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)] if norm else [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class PlainEncoder(nn.Module):
    """The contracting path: five blocks with 2x2 max pooling between them, images (B, 3, H, W) to five feature maps.

    The number of channels starts at `width` and doubles with each block.
    """

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        channels = [3, *(width * 2**level for level in range(LEVELS))]
        self.blocks = nn.ModuleList(_block(a, b, norm) for a, b in pairwise(channels))

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Return the output of each block k = 0..4, (B, width * 2^k, H / 2^k, W / 2^k), for images (B, 3, H, W)."""
        outputs = [self.blocks[0](images_BCHW)]
        for block in self.blocks[1:]:
            outputs.append(block(nn.functional.max_pool2d(outputs[-1], 2)))
        return outputs


class PlainDecoder(nn.Module):
    """The expanding path: five feature maps to features (B, width, H, W).

    Four transposed convolutions double the size and halve the channels, each followed by a skip connection and a block.
    """

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        channels = [width * 2**level for level in reversed(range(LEVELS))]
        pairs = list(pairwise(channels))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.blocks = nn.ModuleList(_block(2 * b, b, norm) for _, b in pairs)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return features (B, width, H, W) from the outputs of the encoder's blocks, finest first."""
        x = features[-1]
        for up, block, skip in zip(self.up, self.blocks, reversed(features[:-1]), strict=True):
            x = block(torch.cat([skip, up(x)], dim=1))
        return x


class PlainUNet(nn.Module):
    """The plain U-Net from images (B, 3, H, W) to logits (B, classes, H, W).

    The first block has `width` channels, the last 16 times as many. With `norm`, each 3x3 convolution is followed by batch
    normalisation; without, it has a bias. Weights are initialised for ReLU (He et al. 2015, arXiv:1502.01852), as the U-Net paper
    recommends.
    """

    def __init__(self, width: int, classes: int, norm: bool = True) -> None:
        super().__init__()
        self.encoder = PlainEncoder(width, norm)
        self.decoder = PlainDecoder(width, norm)
        self.classifier = nn.Conv2d(width, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return logits (B, classes, H, W) of images (B, 3, H, W). H and W must be multiples of 16."""
        height, width = images_BCHW.shape[-2:]
        return self.decode(self.encoder(images_BCHW), (height, width))

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:  # noqa: ARG002  # the first feature map has the size
        """Return logits (B, classes, H, W) of images of `size` (H, W) from the outputs of the encoder's blocks, finest first."""
        logits: Tensor = self.classifier(self.decoder(features))
        return logits
