"""Architectures: the table of decoders, and building a model by name. Models are always built with random weights."""

import difflib
from collections.abc import Callable, Mapping
from functools import cache

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch import nn

from segsweep.config.digest import seed_for
from segsweep.errors import UserError, unknown
from segsweep.models.segmentation_model import Parts, SegmentationModel
from segsweep.models.unet import PlainUNet

PLAIN: Mapping[str, int] = {"unet": 64, "unet16": 16}  # name -> channels of the first block
DECODERS: Mapping[str, Callable[..., nn.Module]] = {
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "manet": smp.MAnet,
    "linknet": smp.Linknet,
    "fpn": smp.FPN,
    "pspnet": smp.PSPNet,
    "pan": smp.PAN,
    "deeplabv3plus": smp.DeepLabV3Plus,
}
PLAIN_STRIDE_PX = 16
ENCODER_STRIDE_PX = 32
TIMM_PREFIX = "tu-"  # smp's mark for any encoder of timm


def architecture_names() -> list[str]:
    """Return how architectures are named, for messages."""
    return [*PLAIN, *(f"{decoder}-ENCODER" for decoder in DECODERS)]


def encoder_names() -> list[str]:
    """Return the encoders that go by a name of their own; beside them there is `tu-NAME` for every encoder of timm."""
    return sorted(smp_encoders)


def check_architecture(name: str, image_px: int) -> None:
    """Raise `UserError` where no model of this name can be built for pictures of this size."""
    decoder, dash, encoder = name.partition("-")
    if not dash:
        if name not in PLAIN:
            raise unknown("architecture", name, architecture_names())
        stride = PLAIN_STRIDE_PX
    else:
        if decoder not in DECODERS:
            raise unknown("architecture", name, architecture_names())
        if encoder not in smp_encoders and not (encoder.startswith(TIMM_PREFIX) and encoder[len(TIMM_PREFIX) :] in _timm_names()):
            near = difflib.get_close_matches(encoder, [*smp_encoders, *(TIMM_PREFIX + name for name in _timm_names())], 5, 0.5)
            raise UserError(
                f"architecture {name!r}: unknown encoder {encoder!r}; nearest: {', '.join(near) or 'none'}; all: segsweep models"
            )
        stride = ENCODER_STRIDE_PX
    if image_px % stride:
        raise UserError(f"image_px={image_px}: {name} needs a multiple of {stride}")
    if (obstacle := _obstacle(name, image_px)) is not None:
        raise UserError(f"architecture {name!r} cannot be built for image_px={image_px}: {obstacle}")


@cache
def _obstacle(name: str, image_px: int) -> str | None:
    """Return what stands against a decoder with an encoder at a size, by rehearsing both without numbers; None for nothing."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            _build(name, classes=2)(torch.empty(2, 3, image_px, image_px))
    except Exception as error:  # each library has its own kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return None if "meta" in reason[0] else reason[0]  # a few encoders need numbers to be built at all
    return None


@cache
def _timm_names() -> frozenset[str]:
    import timm

    return frozenset(timm.list_models())


def build_model(name: str, classes: int, seed: int) -> SegmentationModel:
    """Return a model with random weights: equal for an equal name, number of classes and seed.

    The seed is used alone: no global random state is read or left changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for("weights", seed))  # torch.manual_seed would reach the GPUs' too
        return _build(name, classes)


def _build(name: str, classes: int) -> SegmentationModel:
    decoder, dash, encoder = name.partition("-")
    if not dash:
        return SegmentationModel(PlainUNet(PLAIN[name], classes), Parts("encoder.", "classifier."))
    # encoder_weights: only None is random; False loads published weights for tu- encoders
    network = DECODERS[decoder](encoder_name=encoder, encoder_weights=None, classes=classes)
    return SegmentationModel(network, Parts("encoder.", "segmentation_head."))
