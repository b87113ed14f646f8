"""The decoders of segmentation_models_pytorch (smp) with its encoders and timm's.

`AS_IN_PAPER` sets the options of smp that make a decoder follow its paper, as far as they change no name and no shape of a
weight. Differences that no option removes remain; `segsweep/models/README.md` lists them.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders.timm_universal import TimmUniversalEncoder
from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder
from torch import Tensor, nn

from segsweep.errors import UserError
from segsweep.models.encoder_name import TIMM_PREFIX
from segsweep.models.segmentation_model import Parts

DECODERS: Mapping[str, Callable[..., nn.Module]] = {
    "unet": smp.Unet,
    "unetplusplus": smp.UnetPlusPlus,
    "manet": smp.MAnet,
    "linknet": smp.Linknet,
    "fpn": smp.FPN,
    "pspnet": smp.PSPNet,
    "pan": smp.PAN,
    "deeplabv3": smp.DeepLabV3,
    "deeplabv3plus": smp.DeepLabV3Plus,
    "segformer": smp.Segformer,
    "upernet": smp.UPerNet,
    "dpt": smp.DPT,
}
AS_IN_PAPER: Mapping[str, Mapping[str, Any]] = {
    # atrous rates at output stride 8: Chen et al. 2017, arXiv:1706.05587, section 3.3
    "deeplabv3": {"encoder_output_stride": 8, "decoder_atrous_rates": (12, 24, 36)},
    # half of them at output stride 16, with a decoder: Chen et al. 2018, arXiv:1802.02611; smp's default is 12, 24, 36
    "deeplabv3plus": {"encoder_output_stride": 16, "decoder_atrous_rates": (6, 12, 18)},
    "pan": {"encoder_output_stride": 16},  # Li et al. 2018, arXiv:1805.10180
    "fpn": {
        "decoder_dropout": 0.0
    },  # the semantic branch of Kirillov et al. 2019, arXiv:1901.02446, has none; smp's default is 0.2
}
HEAD = "segmentation_head."
CLASSIFIERS: Mapping[str, str] = {"dpt": "segmentation_head.head.4."}  # its head has more layers than the classifier


def is_encoder(name: str) -> bool:
    """Return whether this is the name of an encoder: of smp, or of timm as `tu-NAME` or `tu-NAME.TAG`."""
    if not name.startswith(TIMM_PREFIX):
        return name in smp_encoders
    model = name.removeprefix(TIMM_PREFIX)
    return model in timm_names() or ("." in model and model in _timm_tagged())


@cache
def timm_names() -> frozenset[str]:
    """Return the names of timm's encoders, without the tags of weights."""
    return frozenset(timm.list_models())


@cache
def _timm_tagged() -> frozenset[str]:
    return frozenset(timm.list_pretrained())


def build_smp(decoder: str, encoder: str, classes: int) -> tuple[nn.Module, Parts]:
    """Return a network from images (B, 3, H, W) to logits (B, classes, H, W) with random weights, and its parts."""
    # encoder_weights: only None means random weights; False loads published weights for tu- encoders
    options = AS_IN_PAPER.get(decoder, {})
    build = partial(DECODERS[decoder], encoder_name=encoder, encoder_weights=None, classes=classes, **options)
    network = build() if decoder != "dpt" else _for_any_size(build)
    if decoder == "dpt":
        _prune(network.get_submodule("encoder"))
    return network, Parts("encoder.", CLASSIFIERS.get(decoder, HEAD), decode=_decode)


def _decode(network: Any, features: Any, size: tuple[int, int]) -> Tensor:
    """Return logits (B, classes, H, W) as smp's forward pass does.

    Raises `UserError` if smp refuses the size (H, W), since it is not a multiple of the encoder's stride.
    """
    stride_px = network.encoder.output_stride
    if network.requires_divisible_input_shape and any(side_px % stride_px for side_px in size):
        raise UserError(f"image of {size[1]}x{size[0]} pixels: {network.name} needs multiples of {stride_px}")
    inputs = features if isinstance(network, smp.DPT) else (features,)  # DPT's decoder takes feature maps and prefix tokens
    logits: Tensor = network.segmentation_head(network.decoder(*inputs))
    return logits


def build_smp_encoder(name: str, weights: str | bool | None) -> nn.Module:
    """Return an encoder by the name that `encoder_name` returns.

    `weights` is None for random weights, True for timm's published weights, or the name of a set of weights of smp's encoder.
    """
    encoder, _, decoder = name.partition("@")
    if decoder == "dpt":
        model = encoder.removeprefix(TIMM_PREFIX)
        return _prune(_for_any_size(partial(TimmViTEncoder, model, pretrained=weights is not None)))
    depth = {"depth": inspect.signature(DECODERS[decoder].__init__).parameters["encoder_depth"].default} if decoder else {}
    network: nn.Module = smp.encoders.get_encoder(encoder, weights=weights, **depth)
    return network


def publisher_names(encoder: nn.Module) -> dict[str, str | None] | None:
    """Map each weight name of the network that timm publishes to the encoder's name, or to None if the encoder lacks the weight.

    timm's encoders lack the classifier, and may lack late layers. The first level of a sequence is flattened (`stages.0` becomes
    `stages_0`), or the network lies below `model.` or `body.`. Returns None for encoders that are not timm's.
    """
    if not isinstance(encoder, TimmUniversalEncoder | TimmViTEncoder):
        return None
    publisher_shapes, flattened = _publisher_form(encoder.name)
    names: dict[str, str | None] = dict.fromkeys(publisher_shapes)
    for here, tensor in encoder.state_dict().items():
        inner = here.removeprefix("model.")
        top, dot, rest = inner.partition(".")
        spellings = (inner, flattened.get(top, top) + dot + rest, inner.removeprefix("model."), inner.removeprefix("body."))
        for name in spellings:
            if publisher_shapes.get(name) == tuple(tensor.shape):
                names[name] = here
                break
    return names


@cache
def _publisher_form(name: str) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return the shapes of the weights of a timm network by name, and its nested module names by their flattened names."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                network = timm.create_model(name)
        except Exception:  # a few networks cannot be built on the meta device
            network = timm.create_model(name)
    flattened = {
        f"{top}_{part}": f"{top}.{part}"
        for top, sequence in network.named_children()
        if isinstance(sequence, nn.Sequential)
        for part, _ in sequence.named_children()
    }
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}, flattened


def _for_any_size(build: Callable[..., nn.Module]) -> nn.Module:
    """Build a network on a ViT, if possible one that accepts image sizes other than the published one."""
    try:
        return build(dynamic_img_size=True)
    except TypeError:  # this ViT does not support it
        return build()


def _prune(encoder: Any) -> nn.Module:
    """Remove a ViT's last normalisation, its classifier, and the blocks after the last feature map."""
    encoder.model.prune_intermediate_layers(encoder._output_indices, prune_norm=True, prune_head=True)
    pruned: nn.Module = encoder
    return pruned
