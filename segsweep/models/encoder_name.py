"""Names of encoders. This module does not import torch, so that a plan can be made without it."""

import re

from segsweep.config.user_text import PREFIX

TIMM_PREFIX = "tu-"  # smp's prefix for any encoder of timm
OWN_FORM = ("pspnet", "dpt")  # decoders for which smp drops layers of timm's encoders that other decoders keep

RESNET = re.compile(rf"({TIMM_PREFIX})?resnet(?:18|34|50|101|152)(?:\.[A-Za-z0-9_.]+)?(?:@[a-z]+)?")


def encoder_name(architecture: str) -> str:
    """Return the name of an architecture's encoder. Architectures with the same encoder name can exchange its weights.

    It is the part after the decoder, or the whole name for a plain U-Net and for a user's architecture. If smp builds fewer
    layers of an encoder for this decoder than for others, it is `ENCODER@DECODER`.
    """
    if architecture.startswith(PREFIX):
        return architecture
    decoder, _, encoder = architecture.partition("-")
    if decoder in OWN_FORM and encoder.startswith(TIMM_PREFIX):
        return f"{encoder}@{decoder}"
    return encoder or architecture


def resnet_stem(encoder: str) -> tuple[str, ...]:
    """Return the name prefixes of a ResNet's stem, its first convolution and normalisation; () for other encoders.

    `encoder` is a name that `encoder_name` returns. ResNets of timm with another stem, such as `tu-resnet50d`, return ().
    """
    match = RESNET.fullmatch(encoder)
    if match is None:
        return ()
    below = "model." if match[1] else ""
    return (f"{below}conv1.", f"{below}bn1.")
