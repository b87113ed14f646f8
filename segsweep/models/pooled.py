"""What an encoder says of an image as a whole: its deepest feature map, averaged over all places."""

import torch
from torch import Tensor, nn

from segsweep.models.encoder_levels import feature_maps


def pooled_features(encoder: nn.Module, images_BCHW: Tensor) -> Tensor:
    """Return the mean of an encoder's deepest feature map over all places, (B, channels)."""
    return feature_maps(encoder(images_BCHW))[-1].mean(dim=(2, 3))


def feature_channels(encoder: nn.Module, image_px: int) -> int:
    """Return how many channels an encoder's deepest feature map has. Its mode and its statistics stay as they are."""
    training = encoder.training
    with torch.inference_mode():
        channels = pooled_features(encoder.eval(), torch.zeros(1, 3, image_px, image_px)).shape[1]
    encoder.train(training)
    return channels
