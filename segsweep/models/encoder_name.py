"""What an architecture's encoder is called. Needs no torch, so that plans can be made without it."""

import re

from segsweep.config.user_text import PREFIX

TIMM_PREFIX = "tu-"  # smp's mark for any encoder of timm
OWN_FORM = ("pspnet", "dpt")  # decoders with which smp drops layers of timm's encoders that the others keep

RESNET = re.compile(rf"({TIMM_PREFIX})?resnet(?:18|34|50|101|152)(?:\.[A-Za-z0-9_.]+)?(?:@[a-z]+)?")


def encoder_name(architecture: str) -> str:
    """Return the name of an architecture's encoder: architectures with the same one can exchange its weights.

    It is what follows the decoder, or the whole name of a plain U-Net and of an own architecture; where smp gives a decoder
    less of an encoder than it gives others, `ENCODER@DECODER`.
    """
    if architecture.startswith(PREFIX):
        return architecture
    decoder, _, encoder = architecture.partition("-")
    if decoder in OWN_FORM and encoder.startswith(TIMM_PREFIX):
        return f"{encoder}@{decoder}"
    return encoder or architecture


def resnet_stem(encoder: str) -> tuple[str, ...]:
    """Return how the names of a ResNet's first convolution and normalisation, its stem, begin; () for other encoders.

    `encoder` is a name that `encoder_name` gives. ResNets of timm with another stem, as `tu-resnet50d`, count to the others.
    """
    match = RESNET.fullmatch(encoder)
    if match is None:
        return ()
    below = "model." if match[1] else ""
    return (f"{below}conv1.", f"{below}bn1.")
