"""What an architecture's encoder is called. Needs no torch, so that plans can be made without it."""

from segsweep.config.own import PREFIX

TIMM_PREFIX = "tu-"  # smp's mark for any encoder of timm
OWN_FORM = ("pspnet", "dpt")  # decoders with which smp drops layers of timm's encoders that the others keep


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
