"""Architectures: tables of names, and functions that build a model by name. Models are always built with random weights."""

import difflib
from collections.abc import Mapping
from functools import cache

import torch
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch import nn

from segsweep.config.digest import seed_for
from segsweep.config.user_text import PREFIX
from segsweep.errors import UserError, unknown
from segsweep.models.dense_aspp import RATES, DenseASPP
from segsweep.models.dilated_densenet import LEVELS as DENSENET_LEVELS
from segsweep.models.encoder_name import TIMM_PREFIX
from segsweep.models.encoder_name import encoder_name as encoder_name  # re-exported
from segsweep.models.pooled import pooled_features
from segsweep.models.segmentation_model import Parts, SegmentationModel
from segsweep.models.smp_models import DECODERS, build_smp, build_smp_encoder, is_encoder, timm_names
from segsweep.models.torchvision_models import TORCHVISION, decode_torchvision
from segsweep.models.unet import PlainUNet
from segsweep.models.user_model import build_user_network, check_user_architecture

PLAIN: Mapping[str, int] = {"unet": 64, "unet16": 16, "unet4": 4, "unet_no_norm": 64}  # name -> channels of the first block
WITHOUT_NORM = ("unet_no_norm",)
DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")
PLAIN_STRIDE_PX = 16
ENCODER_STRIDE_PX = 32
SMALLEST_PX = 32

NAMED: Mapping[str, str] = {
    "unet": "plain U-Net, 64..1024 channels, with batch norm (Ronneberger 2015)",
    "unet16": "plain U-Net, 16..256 channels",
    "unet4": "plain U-Net, 4..64 channels: trains in seconds on one core, to try out a study",
    "unet_no_norm": "plain U-Net, 64..1024 channels, without batch norm as published",
    "unet-vgg16": "U-Net decoder on VGG16, without batch norm as published (Simonyan 2015)",
    "unet-resnet50": "U-Net decoder on ResNet-50 (He 2016)",
    "unet-densenet121": "U-Net decoder on DenseNet-121 (Huang 2017)",
    "unet-mobilenet_v2": "U-Net decoder on MobileNetV2 (Sandler 2018)",
    "fcn-resnet50": "torchvision's FCN: a dilated encoder without skips (Long 2015 has skips)",
    "fcn-resnet101": "torchvision's FCN",
    "deeplabv3-resnet50": "torchvision's DeepLabV3, rates 12 24 36 at output stride 8 (Chen 2017)",
    "deeplabv3-resnet101": "torchvision's DeepLabV3",
    "deeplabv3-mobilenet_v3_large": "torchvision's DeepLabV3 on MobileNetV3 (Howard 2019), rates 12 24 36 at output stride 16",
    "lraspp-mobilenet_v3_large": "torchvision's Lite R-ASPP (Howard 2019)",
    "deeplabv3plus-mobilenet_v2": "DeepLabV3+, rates 6 12 18 at output stride 16 (Chen 2018)",
    "deeplabv3plus-resnet50": "DeepLabV3+",
    "denseaspp-densenet121": "DenseASPP, rates 3 6 12 18 24, DenseNet dilated (Yang 2018)",
    "cutdenseaspp-densenet161": "DenseASPP cut to rates 3 6 12, DenseNet dilated",
    "unetplusplus-resnet50": "UNet++ (Zhou 2018)",
    "manet-resnet50": "MA-Net (Fan 2020)",
    "linknet-resnet50": "LinkNet (Chaurasia 2017)",
    "fpn-resnet50": "feature pyramid (Kirillov 2019)",
    "pspnet-resnet50": "PSPNet; the encoder's last two layers are not used (Zhao 2017)",
    "pan-resnet50": "pyramid attention (Li 2018)",
    "segformer-mit_b0": "SegFormer-B0 (Xie 2021)",
    "segformer-mit_b2": "SegFormer-B2",
    "upernet-resnet50": "UPerNet (Xiao 2018)",
    "upernet-tu-convnext_tiny": "UPerNet on timm's ConvNeXt-T (Liu 2022)",
    "dpt-tu-vit_base_patch16_224": "DPT on timm's ViT-B/16 (Ranftl 2021)",
}


def architecture_names() -> list[str]:
    """Return the names and name patterns of architectures, for messages."""
    names = [*PLAIN, *TORCHVISION, *(f"{head}-{densenet}" for head in RATES for densenet in DENSENETS)]
    return [*names, *(f"{decoder}-ENCODER" for decoder in DECODERS), "or an Architecture object"]


def encoder_names() -> list[str]:
    """Return the names of smp's encoders. Every encoder of timm is available too, as `tu-NAME`."""
    return sorted(smp_encoders)


def check_architecture(name: str, image_px: int) -> None:
    """Raise `UserError` if no model of this name can be built for images (3, image_px, image_px)."""
    if name.startswith(PREFIX):
        check_user_architecture(name, image_px)
        return
    decoder, _, encoder = name.partition("-")
    if name in PLAIN:
        stride_px = PLAIN_STRIDE_PX
    elif name in TORCHVISION or (decoder in RATES and encoder in DENSENETS):
        stride_px = 1
    elif decoder in DECODERS and encoder:
        _check_encoder(name, encoder)
        stride_px = 1 if decoder == "dpt" else ENCODER_STRIDE_PX  # each ViT has another stride; the trial build below checks it
    else:
        raise unknown("architecture", name, architecture_names(), "segsweep models --encoders")
    if image_px % stride_px:
        raise UserError(f"image_px={image_px}: {name} needs a multiple of {stride_px}")
    if stride_px == 1 and image_px < SMALLEST_PX:
        raise UserError(f"image_px={image_px}: {name} needs at least {SMALLEST_PX}")
    if (error := _build_error(name, image_px)) is not None:
        raise UserError(f"architecture {name!r} cannot be built for image_px={image_px}: {error}")


def _check_encoder(name: str, encoder: str) -> None:
    if not is_encoder(encoder):
        near = difflib.get_close_matches(encoder, [*smp_encoders, *(TIMM_PREFIX + name for name in timm_names())], 5, 0.5)
        raise UserError(
            f"architecture {name!r}: unknown encoder {encoder!r}; nearest: {', '.join(near) or 'none'}; "
            "all: segsweep models --encoders"
        )


@cache
def _build_error(name: str, image_px: int) -> str | None:
    """Return the error of building and running an architecture on the meta device at an image size; None if it succeeds."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            _build(name, classes=2)(torch.empty(2, 3, image_px, image_px))
    except Exception as error:  # each library raises its own types
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return None if "meta" in reason[0] else reason[0]  # a few encoders cannot be built on the meta device
    return None


def build_model(name: str, classes: int, seed: int, sigmoid_class: int | None = None) -> SegmentationModel:
    """Return a model from images (B, 3, H, W) to logits (B, classes, H, W), with random weights.

    The weights are equal for equal name, number of classes and seed. With `sigmoid_class`, the network has one output channel,
    the logit of that class of two. Global random state is neither read nor changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for("weights", seed))  # torch.manual_seed would seed the GPUs too
        return _build(name, classes, sigmoid_class)


def build_encoder(name: str, seed: int) -> nn.Module:
    """Return an encoder with random weights, by the name that `encoder_name` returns; the seed is that of `build_model`.

    Its weights have the names that they have in every architecture with this encoder, without the prefix of the encoder.
    """
    architecture = name if name in PLAIN or name.startswith(PREFIX) else _architecture_with(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_for("weights", seed))
        return build_smp_encoder(name, None) if architecture is None else _build(architecture, classes=2).encoder


def check_encoder(name: str, image_px: int) -> None:
    """Raise `UserError` if an encoder, by its name of `encoder_name`, does not accept images (3, image_px, image_px)."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            pooled_features(build_encoder(name, 0), torch.empty(2, 3, image_px, image_px))
    except Exception as error:  # each library raises its own types
        reason = str(error).strip().splitlines() or [type(error).__name__]
        if "meta" not in reason[0]:  # a few encoders cannot be built on the meta device
            raise UserError(f"encoder {name!r} does not accept images of {image_px} px: {reason[0]}") from None


def _architecture_with(encoder: str) -> str | None:
    """Return an architecture that has an encoder which smp lacks; None for smp's encoders."""
    if is_encoder(encoder.partition("@")[0]):
        return None
    return next((name for name in TORCHVISION if encoder_name(name) == encoder), f"{next(iter(RATES))}-{encoder}")


def build_on_meta(name: str, classes: int) -> SegmentationModel:
    """Return a model on torch's meta device, whose weights have names and shapes but no values: for counts and checks."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return _build(name, classes)
        except RuntimeError:  # a few encoders cannot be built on the meta device
            return _build(name, classes).to("meta")


def _build(name: str, classes: int, sigmoid_class: int | None = None) -> SegmentationModel:
    network, parts = _network(name, classes if sigmoid_class is None else 1)
    return SegmentationModel(network, parts, sigmoid_class)


def _network(name: str, channels: int) -> tuple[nn.Module, Parts]:
    """Return a network with `channels` output channels, and its parts."""
    if name.startswith(PREFIX):
        return build_user_network(name, channels)
    decoder, _, encoder = name.partition("-")
    if name in PLAIN:
        return PlainUNet(PLAIN[name], channels, norm=name not in WITHOUT_NORM), Parts(
            "encoder.", "classifier.", decode=PlainUNet.decode
        )
    if name in TORCHVISION:
        entry = TORCHVISION[name]
        return entry.build(channels), Parts("backbone.", entry.classifier, entry.levels, decode_torchvision)
    if decoder in RATES:
        return DenseASPP(encoder, RATES[decoder], channels), Parts("encoder.", "classifier.", DENSENET_LEVELS, DenseASPP.decode)
    return build_smp(decoder, encoder, channels)
