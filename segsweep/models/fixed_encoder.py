"""The encoder that compares images of datasets, independent of the study's sources and architectures: ResNet-18."""

from torch import nn

from segsweep.config.normalisation import IMAGENET, Normalisation
from segsweep.config.source_score import FixedWeights
from segsweep.models.architectures import build_encoder
from segsweep.models.pretrained import imagenet_encoder, imagenet_normalisation, published_imagenet

ENCODER, SEED = "resnet18", 0


def fixed_weights() -> FixedWeights:
    """Return which weights this machine can give to the encoder: ImageNet's if their file is in the cache, else random ones."""
    return "imagenet" if published_imagenet(ENCODER).file.is_whole else "random"


def fixed_encoder(weights: FixedWeights) -> tuple[nn.Module, Normalisation]:
    """Return the encoder with its input normalisation. Random weights are those of seed 0; their statistics are not set.

    Raises `UserError` if ImageNet's weights are neither on this machine nor can be downloaded.
    """
    encoder = build_encoder(ENCODER, SEED)
    if weights == "random":
        return encoder, IMAGENET
    encoder.load_state_dict(imagenet_encoder(ENCODER)[0])
    return encoder, imagenet_normalisation(ENCODER)


def fixed_encoder_name(weights: FixedWeights) -> str:
    """Return the encoder and its weights, in words."""
    return f"{ENCODER}, ImageNet weights" if weights == "imagenet" else f"{ENCODER}, random weights"
