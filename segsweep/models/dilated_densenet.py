"""DenseNet (Huang et al. 2017, arXiv:1608.06993), dilated to an output stride of 8, for ordinary DenseNet weights.

Transitions 2 and 3 do not pool; the 3x3 convolutions of block 3 are dilated by 2 and those of block 4 by 4, as in DenseASPP
(Yang et al. 2018). These changes add no weights, so the state is that of torchvision's DenseNet without its classifier.
"""

from collections.abc import Mapping

import torchvision
from torch import Tensor, nn

DILATIONS: Mapping[str, int] = {"denseblock3": 2, "denseblock4": 4}
UNPOOLED = ("transition2", "transition3")
LEVELS = (  # as in smp's encoder: a transition's 1x1 convolution belongs to the level that follows it
    ("features.conv0.", "features.norm0."),
    ("features.denseblock1.", "features.transition1.norm."),
    ("features.transition1.conv.", "features.denseblock2.", "features.transition2.norm."),
    ("features.transition2.conv.", "features.denseblock3.", "features.transition3.norm."),
    ("features.transition3.conv.", "features.denseblock4.", "features.norm5."),
)


class DilatedDenseNet(nn.Module):
    """The feature extractor of one of torchvision's DenseNets, dilated: images (B, 3, H, W) to features (B, channels, H/8, W/8).

    `name` is torchvision's: `densenet121`, `densenet161`, `densenet169` or `densenet201`. Weights are initialised as
    torchvision's.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.features: nn.Sequential = torchvision.models.get_model(name, weights=None).features
        for transition in UNPOOLED:
            self.features.get_submodule(transition).pool = nn.Identity()
        for block, dilation in DILATIONS.items():
            for module in self.features.get_submodule(block).modules():
                if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                    module.dilation = module.padding = (dilation, dilation)

    @property
    def channels(self) -> int:
        """The number of channels of the features."""
        norm = self.features.get_submodule("norm5")
        assert isinstance(norm, nn.BatchNorm2d)
        return norm.num_features

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the features (B, channels, ceil(H/4) // 2, ceil(W/4) // 2) of images (B, 3, H, W)."""
        features: Tensor = self.features(images_BCHW)
        return features
