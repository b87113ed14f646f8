"""torchvision's segmentation networks, with torchvision's weight names, and the levels of their encoders."""

from collections.abc import Mapping
from dataclasses import dataclass

import torchvision
from torch import Tensor, nn
from torchvision.models.segmentation import LRASPP

RESNET_LEVELS = (("conv1.", "bn1."), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",))
MOBILENET_V3_LEVELS = tuple(  # a level starts with a block that halves the size, or would halve it without dilation
    tuple(f"{block}." for block in blocks) for blocks in (range(2), range(2, 4), range(4, 7), range(7, 13), range(13, 17))
)
LRASPP_CLASSIFIERS = ("classifier.low_classifier.", "classifier.high_classifier.")


@dataclass(frozen=True)
class TorchvisionNetwork:
    """A torchvision network: its name in torchvision, its encoder with levels, and the name prefixes of its last classifier."""

    name: str
    encoder: str
    levels: tuple[tuple[str, ...], ...] = RESNET_LEVELS
    classifier: tuple[str, ...] = ("classifier.4.",)

    def build(self, classes: int) -> nn.Module:
        """Return the network with random weights and no auxiliary classifier. Its output is a dictionary, logits as `out`."""
        network: nn.Module = torchvision.models.get_model(self.name, weights=None, weights_backbone=None, num_classes=classes)
        return network


def decode_torchvision(network: nn.Module, features: Mapping[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Return logits (B, classes, H, W) of images of `size` (H, W) from the backbone's output.

    `features` holds the feature maps (B, C, h, w): `out`, or `low` and `high` for LR-ASPP.
    """
    classifier = network.get_submodule("classifier")
    logits = classifier(features if isinstance(network, LRASPP) else features["out"])
    return nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)


TORCHVISION: Mapping[str, TorchvisionNetwork] = {
    "fcn-resnet50": TorchvisionNetwork("fcn_resnet50", "resnet50"),
    "fcn-resnet101": TorchvisionNetwork("fcn_resnet101", "resnet101"),
    "deeplabv3-resnet50": TorchvisionNetwork("deeplabv3_resnet50", "resnet50"),
    "deeplabv3-resnet101": TorchvisionNetwork("deeplabv3_resnet101", "resnet101"),
    "deeplabv3-mobilenet_v3_large": TorchvisionNetwork("deeplabv3_mobilenet_v3_large", "mobilenet_v3_large", MOBILENET_V3_LEVELS),
    "lraspp-mobilenet_v3_large": TorchvisionNetwork(
        "lraspp_mobilenet_v3_large", "mobilenet_v3_large", MOBILENET_V3_LEVELS, LRASPP_CLASSIFIERS
    ),
}
