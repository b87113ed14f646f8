"""Image features of an encoder: global average pooling of its deepest feature map."""

import torch
from torch import Tensor, nn

from segsweep.models.encoder_levels import feature_maps


def pooled_features(encoder: nn.Module, images_BCHW: Tensor) -> Tensor:
    """Return the spatial mean of an encoder's deepest feature map, (B, channels), for images (B, 3, H, W)."""
    return feature_maps(encoder(images_BCHW))[-1].mean(dim=(2, 3))


def feature_channels(encoder: nn.Module, image_px: int) -> int:
    """Return the number of channels of an encoder's deepest feature map. Its mode and its statistics do not change."""
    training = encoder.training
    with torch.inference_mode():
        channels = pooled_features(encoder.eval(), torch.zeros(1, 3, image_px, image_px)).shape[1]
    encoder.train(training)
    return channels
