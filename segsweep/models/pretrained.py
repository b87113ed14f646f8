"""Published weights of torchvision, smp and timm, each by a pinned name."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torchvision
from safetensors.torch import load_file
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch import Tensor, nn

from segsweep.config.normalisation import HALF, IMAGENET, Normalisation
from segsweep.errors import UserError
from segsweep.models.architectures import PLAIN
from segsweep.models.encoder_name import TIMM_PREFIX
from segsweep.models.published_file import HubFile, Published, UrlFile
from segsweep.models.smp_models import build_smp_encoder
from segsweep.models.torchvision_models import TORCHVISION
from segsweep.models.weight_names import modern_name

SMP_DEFAULT = "imagenet"
TORCHVISION_DEFAULT = "IMAGENET1K_V1"
TORCHVISION_ENCODERS = (  # networks whose weight names, except those of the classifier, are the encoder's
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "densenet121", "densenet161", "densenet169", "densenet201",
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "mobilenet_v2", "mobilenet_v3_large",
)  # fmt: skip
CLASSIFIERS = ("fc.", "classifier.")
WITHOUT_PREFIX = {"mobilenet_v3_large": "features."}  # torchvision's segmentation networks use only its features

SMP_FILE = "model.safetensors"
TIMM_SAFE = {"open_clip_pytorch_model.bin": "open_clip_model.safetensors", "pytorch_model.bin": "model.safetensors"}
SMP_CONFIG = "config.json"  # beside each weight file on smp's hub: mean, std, input_range, input_space
SMP_DPN = Normalisation(mean=(124 / 255, 117 / 255, 104 / 255), std=(1 / (0.0167 * 255),) * 3)
SMP_FAMILIES: Mapping[str, Normalisation] = {  # prefix of an encoder's name -> its normalisation; ImageNet's for all others
    "dpn": SMP_DPN,
    "inceptionresnetv2": HALF,
    "inceptionv4": HALF,
    "xception": HALF,
    "timm-tf_efficientnet_lite": HALF,
}
SMP_HALF_SETS = ("advprop",)  # weights of EfficientNets

COCO_NAME = "COCO_WITH_VOC_LABELS_V1"
COCO_WEIGHTS_IGNORED = ("aux_classifier.",)
COCO_WEIGHTS_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def check_imagenet(encoder: str, weights: str | None = None) -> str:
    """Return the name of a set of published weights of an encoder; for None, the name of the pinned default set.

    Raises `UserError`, which lists the published sets, for an unknown name.
    """
    if encoder in PLAIN:
        raise UserError(f"source imagenet: {encoder} has no published weights; use an architecture DECODER-ENCODER")
    names = _set_names(encoder)
    if not names:
        raise UserError(f"source imagenet: {encoder} has no published weights; list encoders: segsweep models --encoders")
    if weights is not None:
        if weights not in names:
            raise UserError(f"source imagenet:{weights}: {encoder} has no such weights; published: {', '.join(names)}")
        return weights
    defaults = [name for name in (SMP_DEFAULT, TORCHVISION_DEFAULT, _timm_default(encoder)) if name in names]
    if not defaults:
        raise UserError(f"source imagenet: {encoder} has no ImageNet weights; published: {', '.join(names)}")
    return defaults[0]


def imagenet_encoder(encoder: str, weights: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the published weights of an encoder by the encoder's names, and their origin.

    The weights have the shapes of the encoder's `state_dict`, (out, in, kernel, kernel) for convolutions, and lie on the CPU. The
    origin holds `dataset`, `weights`, and the repository or URL.

    `weights` names one of the published sets: smp's (`imagenet`, `ssl`, `swsl`, ...), torchvision's (`IMAGENET1K_V1`,
    `IMAGENET1K_V2`), or a tag of timm for `tu-` encoders. None means the pinned default: `imagenet` if smp has it, then
    `IMAGENET1K_V1`, then timm's first tag. Raises `UserError` for an unknown set, and for a file that cannot be downloaded.
    """
    published = published_imagenet(encoder, weights)
    return published.network().state_dict(), {
        "dataset": "imagenet",
        "weights": check_imagenet(encoder, weights),
        **published.origin,
    }


def published_imagenet(encoder: str, weights: str | None = None) -> Published:
    """Return the published weights of an encoder; `weights` is that of `imagenet_encoder`. Raises `UserError` as it does."""
    name = check_imagenet(encoder, weights)
    what = f"source imagenet: the weights {name!r} of {encoder}"
    if encoder.startswith(TIMM_PREFIX):
        return _timm_file(what, encoder, name)
    if name in smp_encoders.get(encoder, {}).get("pretrained_settings", {}):
        entry = smp_encoders[encoder]["pretrained_settings"][name]
        origin = {"repo": entry["repo_id"], "revision": entry["revision"]}
        file = HubFile(entry["repo_id"], entry["revision"], (SMP_FILE,), (SMP_CONFIG,))
        return Published(what, origin, file, lambda: _smp_encoder(encoder, name, file.place))
    return _torchvision_file(what, encoder, name, lambda state: _without_classifier(encoder, _filled(encoder, state)))


def imagenet_normalisation(encoder: str, weights: str | None = None) -> Normalisation:
    """Return the normalisation that an encoder's published weights expect; `weights` is that of `imagenet_encoder`.

    Raises `UserError` for an unknown set, and for a set that was not trained on RGB images.
    """
    name = check_imagenet(encoder, weights)
    if encoder.startswith(TIMM_PREFIX):
        config: Any = timm.get_pretrained_cfg(f"{_timm_model(encoder).partition('.')[0]}.{name}")
        return Normalisation.of({"mean": config.mean, "std": config.std})
    if name in smp_encoders.get(encoder, {}).get("pretrained_settings", {}):
        return _smp_normalisation(encoder, name)
    return _torchvision_normalisation(encoder, name)


def _smp_normalisation(encoder: str, name: str) -> Normalisation:
    """Return the normalisation of the configuration file of smp's hub if it is in the cache, else that of smp 0.3.4's tables.

    smp downloads the configuration with the weights; weights that a user copied into the cache may lack it.
    """
    entry = smp_encoders[encoder]["pretrained_settings"][name]
    file = HubFile(entry["repo_id"], entry["revision"], (SMP_CONFIG,)).place
    parameters = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if "mean" in parameters:
        return _in_unit_range(parameters, f"source imagenet: the weights {name!r} of {encoder}")
    if name in SMP_HALF_SETS:
        return HALF
    return next((known for family, known in SMP_FAMILIES.items() if encoder.startswith(family)), IMAGENET)


def _in_unit_range(parameters: Mapping[str, Any], what: str) -> Normalisation:
    """Return the normalisation for images in 0..1 from smp's parameters, which may be for images in 0..255.

    Raises `UserError` for images that are not RGB: a mean and a standard deviation cannot express the order of channels.
    """
    if (space := parameters.get("input_space") or "RGB") != "RGB":
        raise UserError(f"{what}: expect images in {space}, but segsweep's images are RGB; use another set of weights")
    top = float((parameters.get("input_range") or (0, 1))[1])
    return Normalisation.of({part: [value / top for value in parameters[part]] for part in ("mean", "std")})


def _torchvision_normalisation(name: str, weights: str) -> Normalisation:
    """Return the mean and standard deviation of torchvision's transforms for a set of weights."""
    transforms = torchvision.models.get_model_weights(name)[weights].transforms()
    return Normalisation.of({"mean": transforms.mean, "std": transforms.std})


def _set_names(encoder: str) -> list[str]:
    """Return the names of the published sets of weights of an encoder."""
    if encoder.startswith(TIMM_PREFIX):
        model, _, tag = _timm_model(encoder).partition(".")
        known = [name.removeprefix(f"{model}.") for name in timm.list_pretrained() if name.startswith(f"{model}.")]
        return [name for name in known if tag in ("", name)]
    torchvisions = torchvision.models.get_model_weights(encoder) if encoder in TORCHVISION_ENCODERS else ()
    return [*smp_encoders.get(encoder, {}).get("pretrained_settings", {}), *(weights.name for weights in torchvisions)]


def _timm_model(encoder: str) -> str:
    return encoder.removeprefix(TIMM_PREFIX).partition("@")[0]


def _timm_default(encoder: str) -> str | None:
    config = timm.get_pretrained_cfg(_timm_model(encoder), allow_unregistered=True) if encoder.startswith(TIMM_PREFIX) else None
    return config.tag if config else None


def _smp_encoder(encoder: str, name: str, file: Path) -> nn.Module:
    """Return an encoder with the weights of a file if it exists on this machine; otherwise smp downloads them."""
    if not file.is_file():
        return build_smp_encoder(encoder, name)
    network = build_smp_encoder(encoder, None)
    network.load_state_dict(load_file(file))
    return network


def _timm_file(what: str, encoder: str, tag: str) -> Published:
    model = _timm_model(encoder).partition(".")[0]
    form = "".join(encoder.partition("@")[1:])
    config: Any = timm.get_pretrained_cfg(f"{model}.{tag}")

    def load() -> nn.Module:
        return build_smp_encoder(f"{TIMM_PREFIX}{model}.{tag}{form}", weights=True)

    if not config.hf_hub_id:
        return Published(what, {"url": config.url}, UrlFile(config.url), load)
    repo, _, revision = config.hf_hub_id.partition("@")
    return Published(what, {"repo": config.hf_hub_id}, HubFile(repo, revision or None, _timm_names(config.hf_hub_filename)), load)


def _timm_names(file: str | None) -> tuple[str, ...]:
    """Return the file names that timm tries, in its order: safetensors before formats that must be unpickled."""
    if file is None:
        return ("model.safetensors", "pytorch_model.bin")
    safe = TIMM_SAFE.get(file, file.replace(".bin", ".safetensors"))
    return tuple(dict.fromkeys((safe, file)))


def _torchvision_file(what: str, name: str, weights: str, build: Callable[[Mapping[str, Tensor]], nn.Module]) -> Published:
    entry = torchvision.models.get_model_weights(name)[weights]

    def load() -> nn.Module:  # get_model(weights=entry) would unpickle arbitrary objects
        return build(entry.get_state_dict(progress=False, check_hash=True, weights_only=True))

    return Published(what, {"url": entry.url}, UrlFile(entry.url), load)


def _filled(name: str, state: Mapping[str, Tensor], **options: Any) -> nn.Module:
    """Return a torchvision network with exactly these weights, none missing and none unused."""
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    network.load_state_dict({modern_name(key): tensor for key, tensor in state.items()})
    return network


def _without_classifier(encoder: str, network: nn.Module) -> nn.Module:
    """Return a torchvision network without its classifier, with the encoder's weight names."""
    if encoder in WITHOUT_PREFIX:
        return network.get_submodule(WITHOUT_PREFIX[encoder].rstrip("."))
    for classifier in CLASSIFIERS:
        if hasattr(network, classifier.rstrip(".")):
            delattr(network, classifier.rstrip("."))
    return network


def check_coco_weights(architecture: str) -> None:
    """Raise `UserError` for an architecture without published weights that were trained on COCO."""
    if architecture not in TORCHVISION:
        raise UserError(
            f"source coco-weights: {architecture} is not published with such weights; allowed are {', '.join(TORCHVISION)}"
        )


def coco_weights(architecture: str) -> tuple[dict[str, Tensor], tuple[str, ...], dict[str, Any]]:
    """Return the weights of a whole torchvision network, its classes, and the origin of the weights.

    They were trained on the images of COCO train2017 that show PASCAL VOC's 20 classes; the classifier's weight has 21 rows, (21,
    in, 1, 1), with the background first. Names that start with one of `COCO_WEIGHTS_IGNORED` belong to the auxiliary classifier,
    which segsweep's architectures do not have. Raises `UserError` for another architecture, and for a file that cannot be
    downloaded.
    """
    published = published_coco(architecture)
    origin = {"dataset": "coco", "weights": COCO_NAME, **published.origin}
    return published.network().state_dict(), COCO_WEIGHTS_CLASSES, origin


def published_coco(architecture: str) -> Published:
    """Return the published weights of a whole network. Raises `UserError` for another architecture."""
    check_coco_weights(architecture)
    name, what = TORCHVISION[architecture].name, f"source coco-weights: the weights {COCO_NAME!r} of {architecture}"
    return _torchvision_file(what, name, COCO_NAME, lambda state: _coco_network(name, state))


def classes_of_weights(content_hash: str) -> tuple[str, ...] | None:
    """Return the classes of a weight file by its SHA-256, for torchvision's files of `coco-weights`; None for other files."""
    return COCO_WEIGHTS_CLASSES if content_hash.startswith(_coco_hashes()) else None


@cache
def _coco_hashes() -> tuple[str, ...]:
    """Return the prefix of the SHA-256 of each of torchvision's files, with which the file's name ends."""
    urls = (torchvision.models.get_model_weights(network.name)[COCO_NAME].url for network in TORCHVISION.values())
    return tuple(url.rpartition("-")[2].removesuffix(".pth") for url in urls)


def coco_normalisation(architecture: str) -> Normalisation:
    """Return the normalisation that `coco_weights` expect. Raises `UserError` for another architecture."""
    check_coco_weights(architecture)
    return _torchvision_normalisation(TORCHVISION[architecture].name, COCO_NAME)


def _coco_network(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    auxiliary = any(key.startswith(COCO_WEIGHTS_IGNORED) for key in state)
    options = {"aux_loss": auxiliary, "num_classes": len(COCO_WEIGHTS_CLASSES), "weights_backbone": None}
    return _filled(name, state, **options)
