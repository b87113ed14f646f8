"""The plain U-Net (Ronneberger et al. 2015, arXiv:1505.04597), with padded convolutions, with and without batch normalisation.

The paper has neither. Padding keeps the size; without batch normalisation, which most later U-Nets have, a small share of
a small dataset does not tell sources apart within a few epochs.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

LEVELS = 5


def _block(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions, each followed by batch normalisation where it is asked for, and a ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):  # batch normalisation takes a bias out, whose gradient would be rounding noise
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not norm))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)] if norm else [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class PlainEncoder(nn.Module):
    """The contracting path: five blocks, 2x2 max pooling between them, channels doubling from `width`."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        channels = [3, *(width * 2**level for level in range(LEVELS))]
        self.blocks = nn.ModuleList(_block(a, b, norm) for a, b in pairwise(channels))

    def forward(self, images_BCHW: Tensor) -> list[Tensor]:
        """Return the output of every block, finest first."""
        outputs = [self.blocks[0](images_BCHW)]
        for block in self.blocks[1:]:
            outputs.append(block(nn.functional.max_pool2d(outputs[-1], 2)))
        return outputs


class PlainDecoder(nn.Module):
    """The expanding path: four transposed convolutions that halve the channels, each with its skip and a block."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        channels = [width * 2**level for level in reversed(range(LEVELS))]
        pairs = list(pairwise(channels))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.blocks = nn.ModuleList(_block(2 * b, b, norm) for _, b in pairs)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return features at full resolution from the outputs of the encoder's blocks."""
        x = features[-1]
        for up, block, skip in zip(self.up, self.blocks, reversed(features[:-1]), strict=True):
            x = block(torch.cat([skip, up(x)], dim=1))
        return x


class PlainUNet(nn.Module):
    """The plain U-Net: `width` channels in the first block, 16 times as many in the last.

    With `norm` each 3x3 convolution is batch-normalised, without it has a bias. Initialised as He et al. 2015 for ReLU, which the
    paper asks for.
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
        """Return logits (B, classes, H, W). Height and width must be multiples of 16."""
        height, width = images_BCHW.shape[-2:]
        return self.decode(self.encoder(images_BCHW), (height, width))

    def decode(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:  # noqa: ARG002  # the first block's output has it
        """Return logits (B, classes, *size) from the outputs of the encoder's blocks."""
        logits: Tensor = self.classifier(self.decoder(features))
        return logits
