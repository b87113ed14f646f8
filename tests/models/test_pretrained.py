import json
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from huggingface_hub import constants
from safetensors.torch import save_file

from segsweep.config.normalisation import HALF, IMAGENET, Normalisation
from segsweep.data.voc import CLASSES
from segsweep.errors import UserError
from segsweep.models.architectures import build_on_meta, encoder_name
from segsweep.models.dilated_densenet import DilatedDenseNet
from segsweep.models.pretrained import (
    COCO_WEIGHTS_CLASSES,
    COCO_WEIGHTS_IGNORED,
    TORCHVISION_ENCODERS,
    check_imagenet,
    coco_normalisation,
    coco_weights,
    imagenet_encoder,
    imagenet_normalisation,
)
from segsweep.models.torchvision_models import TORCHVISION
from segsweep.models.transfer import transfer_weights


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hubs look into empty folders, and no file is ever downloaded."""

    def refuse(url: str, *_: object, **__: object) -> None:
        raise OSError(f"no network for {url}\nlong advice")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)


def put(url: str, state: dict[str, torch.Tensor]) -> None:
    """Write a weight file where torch.hub looks for the one of this address."""
    torch.save(state, Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2])


def marked(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state of a network with values that no initialisation gives."""
    return {name: t + 3 if t.is_floating_point() else t for name, t in network.state_dict().items()}


@pytest.mark.parametrize("name", ["unet", "unet16"])
def test_plain_encoder_has_no_published_weights(name):
    """A plain U-Net cannot start from ImageNet; the error names the architectures that can."""
    with pytest.raises(UserError, match=f"{name} has no published weights; use an architecture DECODER-ENCODER"):
        imagenet_encoder(name)


@pytest.mark.parametrize("reason", ["cannot reach the hub\nlong advice", ""])
def test_failed_download_is_one_line(monkeypatch, reason):
    """Any error of a hub becomes one line with the encoder, the reason, the file, its folder and the remedy."""

    def refuse(name, weights):
        assert (name, weights) == ("resnet18", "imagenet")
        raise RuntimeError(reason)

    monkeypatch.setattr(smp.encoders, "get_encoder", refuse)
    with pytest.raises(UserError) as caught:
        imagenet_encoder("resnet18")
    text = str(caught.value)
    assert "\n" not in text
    revision = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]["revision"]
    folder = f"{constants.HF_HUB_CACHE}/models--smp-hub--resnet18.imagenet/snapshots/{revision}"
    words = ("resnet18", reason.partition("\n")[0] or "RuntimeError", "model.safetensors", folder, "file:PATH")
    assert all(word in text for word in words), text


def test_a_file_in_its_cache_needs_no_network(tmp_path, monkeypatch):
    """A file of smp's hub in the folder that the message names is loaded without a request to the hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    entry = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    folder = tmp_path / "models--smp-hub--resnet18.imagenet" / "snapshots" / entry["revision"]
    folder.mkdir(parents=True)
    torch.manual_seed(5)
    state = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("the hub was asked"))
    found, facts = imagenet_encoder("resnet18")
    assert facts["revision"] == entry["revision"]
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("encoder", "weights", "words"),
    [
        ("densenet121", "IMAGENET1K_V1", ("densenet121-a639ec97.pth", "checkpoints", "no network", "file:PATH")),
        ("tu-resnet18", None, ("timm/resnet18.a1_in1k", "model.safetensors", "file:PATH")),
        ("tu-vit_tiny_patch16_224@dpt", None, ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", "file:PATH")),
    ],
)
def test_without_a_network_the_file_is_named(encoder, weights, words):
    """Without a network, one line names the file and its expected folder."""
    with pytest.raises(UserError) as caught:
        imagenet_encoder(encoder, weights)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("encoder", "weights", "published"),
    [
        ("resnet50", "IMAGENET1K_V3", "imagenet, ssl, swsl, IMAGENET1K_V1, IMAGENET1K_V2"),
        ("mit_b0", "IMAGENET1K_V1", "imagenet"),
        ("mobilenet_v3_large", "imagenet", "IMAGENET1K_V1, IMAGENET1K_V2"),
        ("tu-resnet18", "imagenet", "a1_in1k, a2_in1k"),
        ("tu-resnet18.a2_in1k", "a1_in1k", "a2_in1k"),
    ],
)
def test_unknown_weights_list_the_published_sets(encoder, weights, published):
    """An unknown set of weights is refused with the names of the published sets, before anything is loaded."""
    with pytest.raises(UserError, match=f"imagenet:{weights}: {encoder} has no such weights; published: {published}"):
        check_imagenet(encoder, weights)


def test_encoder_without_imagenet_weights_lists_its_sets():
    """An encoder that is published only with weights of another dataset has no default; a study must name one of its sets."""
    with pytest.raises(UserError, match="resnext101_32x4d has no ImageNet weights; published: ssl, swsl"):
        check_imagenet("resnext101_32x4d")
    assert check_imagenet("resnext101_32x4d", "swsl") == "swsl"


@pytest.mark.parametrize(
    ("encoder", "default"),
    [
        ("resnet50", "imagenet"),
        ("mobilenet_v3_large", "IMAGENET1K_V1"),
        ("tu-resnet18", "a1_in1k"),
        ("tu-resnet18.a2_in1k", "a2_in1k"),
    ],
)
def test_defaults_are_pinned(encoder, default):
    """Without a named set, the default of the encoder's family is used, and the facts record its name."""
    assert check_imagenet(encoder) == default


def test_weights_of_the_hub_come_from_its_cache():
    """The pinned file of smp's hub is loaded from its cache without a network, and the facts identify it."""
    source = marked(smp.encoders.get_encoder("resnet18", weights=None))
    entry = smp.encoders.encoders["resnet18"]["pretrained_settings"]["imagenet"]
    folder = Path(constants.HF_HUB_CACHE) / f"models--{entry['repo_id'].replace('/', '--')}" / "snapshots" / entry["revision"]
    folder.mkdir(parents=True)
    save_file(source, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({}))
    weights, facts = imagenet_encoder("resnet18")
    assert all(torch.equal(tensor, source[name]) for name, tensor in weights.items())
    assert facts == {"dataset": "imagenet", "weights": "imagenet", "repo": entry["repo_id"], "revision": entry["revision"]}


@pytest.mark.parametrize(
    ("encoder", "weights", "architecture"),
    [
        ("resnet18", "IMAGENET1K_V1", "unet-resnet18"),
        ("mobilenet_v2", "IMAGENET1K_V2", "deeplabv3plus-mobilenet_v2"),
        ("mobilenet_v3_large", None, "lraspp-mobilenet_v3_large"),
    ],
)
def test_torchvisions_file_is_loaded_into_the_encoder(encoder, weights, architecture):
    """A torchvision file in torch.hub's cache provides all weights of the encoder."""
    ordinary = torchvision.models.get_model(encoder, weights=None)
    entry = torchvision.models.get_model_weights(encoder)[weights or "IMAGENET1K_V1"]
    source = marked(ordinary)
    put(entry.url, source)
    state, facts = imagenet_encoder(encoder, weights)
    assert facts == {"dataset": "imagenet", "weights": entry.name, "url": entry.url}
    prefix = "features." if encoder == "mobilenet_v3_large" else ""
    assert all(torch.equal(tensor, source[prefix + name]) for name, tensor in state.items())
    assert encoder_name(architecture) == encoder
    encoder_state = build_on_meta(architecture, 2).encoder.state_dict()
    assert {name: tensor.shape for name, tensor in state.items()} == {name: t.shape for name, t in encoder_state.items()}


@pytest.mark.parametrize("name", ["densenet121", "densenet161"])
def test_the_file_of_a_densenet_with_old_names_loads_strictly_into_the_dilated_one(name):
    """torchvision's DenseNet files, with names of 2017 and without counters, provide every weight of the dilated network."""
    source = marked(torchvision.models.get_model(name, weights=None))
    old = {
        key.replace("norm1", "norm.1").replace("norm2", "norm.2").replace("conv1", "conv.1").replace("conv2", "conv.2")
        if "denselayer" in key else key: tensor
        for key, tensor in source.items() if not key.endswith("num_batches_tracked")
    }  # fmt: skip
    put(torchvision.models.get_model_weights(name).IMAGENET1K_V1.url, old)
    state, _ = imagenet_encoder(name, "IMAGENET1K_V1")
    DilatedDenseNet(name).load_state_dict(state, strict=True)
    assert all(torch.equal(tensor, source[key]) for key, tensor in state.items() if not key.endswith("num_batches_tracked"))


@pytest.mark.parametrize("encoder", TORCHVISION_ENCODERS)
def test_torchvisions_encoders_have_the_same_names_here(encoder):
    """Every encoder with torchvision's weights has torchvision's weight names and shapes."""
    with torch.device("meta"):
        ordinary = torchvision.models.get_model(encoder, weights=None).state_dict()
    decoder = "lraspp" if encoder == "mobilenet_v3_large" else "unet"
    for name, tensor in build_on_meta(f"{decoder}-{encoder}", 2).encoder.state_dict().items():
        assert tensor.shape == ordinary[f"features.{name}" if decoder == "lraspp" else name].shape


@pytest.mark.parametrize("architecture", ["fcn-resnet50", "deeplabv3-mobilenet_v3_large", "lraspp-mobilenet_v3_large"])
def test_coco_weights_load_into_the_whole_model(architecture):
    """torchvision's COCO file loads into the whole model, except its auxiliary classifier; the classes are VOC's."""
    name = TORCHVISION[architecture].name
    entry = torchvision.models.get_model_weights(name).COCO_WITH_VOC_LABELS_V1
    auxiliary = {} if name.startswith("lraspp") else {"aux_loss": True}
    source = marked(torchvision.models.get_model(name, weights=None, weights_backbone=None, **auxiliary))
    put(entry.url, source)
    state, classes, facts = coco_weights(architecture)
    assert facts == {"dataset": "coco", "weights": "COCO_WITH_VOC_LABELS_V1", "url": entry.url}
    assert set(state) == set(source)
    model = build_on_meta(architecture, len(classes)).to_empty(device="cpu")
    report = transfer_weights(model, state, "all", ignored=COCO_WEIGHTS_IGNORED)
    assert not report.kept
    assert all(name.startswith("aux_classifier.") for name in report.unused)
    assert all(torch.equal(tensor, source[key]) for key, tensor in model.network.state_dict().items())


class Trap:
    """Something that unpickling freely would call."""

    def __reduce__(self):
        return (pytest.fail, ("the file was unpickled freely",))


def test_only_tensors_are_unpickled():
    """A file in the cache that holds more than tensors is refused, and none of its code is run."""
    put(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url, {"trap": Trap()})
    with pytest.raises(UserError, match="the weights 'IMAGENET1K_V1' of resnet18 cannot be loaded"):
        imagenet_encoder("resnet18", "IMAGENET1K_V1")
    put(torchvision.models.segmentation.FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.url, {"trap": Trap()})
    with pytest.raises(UserError, match="'COCO_WITH_VOC_LABELS_V1' of fcn-resnet50 cannot be loaded"):
        coco_weights("fcn-resnet50")


def test_coco_classes_are_vocs():
    """The classes of the COCO weights are torchvision's, by the names of the VOC reader."""
    categories = torchvision.models.segmentation.FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
    assert COCO_WEIGHTS_CLASSES == CLASSES == ("background", *categories[1:])


def test_coco_weights_of_another_architecture_are_refused():
    """An architecture that torchvision does not publish is refused with a list of those that it does; a missing file is named."""
    with pytest.raises(UserError, match="unet-resnet50 is not published with such weights; allowed are fcn-resnet50, "):
        coco_weights("unet-resnet50")
    with pytest.raises(UserError, match=r"fcn_resnet50_coco-1167a1af\.pth .*checkpoints.*file:PATH"):
        coco_weights("fcn-resnet50")


SMP_HALF = {  # the tables of smp 0.3.4 for these weights
    *((f"efficientnet-b{n}", "advprop") for n in range(8)),
    *((f"timm-efficientnet-b{n}", "advprop") for n in range(9)),
    *((f"timm-tf_efficientnet_lite{n}", "imagenet") for n in range(5)),
    *((name, "imagenet") for name in ("xception", "inceptionv4", "inceptionresnetv2")),
    *((name, "imagenet+background") for name in ("inceptionv4", "inceptionresnetv2")),
}
SMP_DPN = {("dpn68b", "imagenet+5k"), ("dpn92", "imagenet+5k"), ("dpn107", "imagenet+5k")} | {
    (name, "imagenet") for name in ("dpn68", "dpn98", "dpn131")
}


def test_smps_sets_have_the_normalisation_of_smps_tables():
    """Without the hub's configuration, every set of smp has the mean and deviation of smp's earlier tables."""
    found = {
        (encoder, name): imagenet_normalisation(encoder, name)
        for encoder, entry in smp.encoders.encoders.items()
        for name in entry["pretrained_settings"]
    }
    assert {key for key, value in found.items() if value == HALF} == SMP_HALF
    dpn = {key: value for key, value in found.items() if value not in (HALF, IMAGENET)}
    assert dpn.keys() == SMP_DPN
    for value in dpn.values():
        assert value.mean == pytest.approx((124 / 255, 117 / 255, 104 / 255))
        assert value.std == pytest.approx((1 / (0.0167 * 255),) * 3)


@pytest.mark.parametrize(
    ("said", "mean", "std"),
    [
        ({"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        ({"mean": [0.5] * 3, "std": [0.5] * 3, "input_range": [0, 1], "input_space": "RGB"}, (0.5,) * 3, (0.5,) * 3),
        ({"mean": [51.0, 102.0, 0.0], "std": [255.0, 51.0, 1.0], "input_range": [0, 255]}, (0.2, 0.4, 0.0), (1, 0.2, 1 / 255)),
        ({}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_the_hubs_configuration_takes_precedence(said, mean, std):
    """The configuration beside the weights on smp's hub takes precedence; the result is in units of 0..1 for any input range."""
    say("resnet18", "imagenet", said)
    found = imagenet_normalisation("resnet18")
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)


def test_weights_of_bgr_images_are_refused():
    """Weights that expect BGR images are refused with the reason: a mean and a deviation cannot express the order of channels."""
    say("resnet18", "ssl", {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "input_space": "BGR"})
    with pytest.raises(UserError, match="the weights 'ssl' of resnet18: expect images in BGR"):
        imagenet_normalisation("resnet18", "ssl")


def say(encoder: str, name: str, said: dict[str, object]) -> None:
    """Write the hub's configuration of one of smp's sets of weights into its cache."""
    entry = smp.encoders.encoders[encoder]["pretrained_settings"][name]
    folder = Path(constants.HF_HUB_CACHE) / f"models--{entry['repo_id'].replace('/', '--')}" / "snapshots" / entry["revision"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(said))


CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@pytest.mark.parametrize(
    ("encoder", "weights", "expected"),
    [
        ("tu-vit_base_patch16_224", None, HALF),
        ("tu-vit_base_patch16_224@dpt", None, HALF),
        ("tu-vit_base_patch16_224@dpt", "dino", IMAGENET),
        ("tu-vit_base_patch16_clip_224@dpt", "openai", CLIP),
        ("tu-resnet18", None, IMAGENET),
        ("tu-resnet50_clip.openai@pspnet", None, CLIP),
        ("tu-tf_efficientnet_b0", "ap_in1k", HALF),
        ("tu-tf_efficientnet_b0", "ns_jft_in1k", IMAGENET),
        ("tu-tf_efficientnet_b0.ap_in1k", None, HALF),
        ("tu-tresnet_m", "miil_in1k", Normalisation((0.0,) * 3, (1.0,) * 3)),
        ("vgg16", "IMAGENET1K_FEATURES", Normalisation((0.48235, 0.45882, 0.40784), (1 / 255,) * 3)),
        ("resnet50", "IMAGENET1K_V2", IMAGENET),
        ("mobilenet_v3_large", None, IMAGENET),
    ],
)
def test_published_weights_have_their_normalisation(encoder, weights, expected):
    """timm's tags and torchvision's sets have the normalisation of their training; it depends on the tag, not on the network."""
    assert imagenet_normalisation(encoder, weights) == expected


def test_every_published_set_has_a_normalisation_in_units_of_one():
    """Every tenth of timm's tags and all of torchvision's sets have a normalisation in units of 0..1; many differ from
    ImageNet's.
    """
    tags = [name.partition(".") for name in timm.list_pretrained()[::10]]
    found = [imagenet_normalisation(f"tu-{model}", tag) for model, _, tag in tags]
    assert sum(value != IMAGENET for value in found) > 50
    found += [imagenet_normalisation(e, w.name) for e in TORCHVISION_ENCODERS for w in torchvision.models.get_model_weights(e)]
    assert all(0 <= m <= 1 and 0 < s <= 1 for value in found for m, s in zip(value.mean, value.std, strict=True))


def test_coco_weights_have_torchvisions_normalisation():
    """torchvision's whole models expect ImageNet's normalisation, according to torchvision's transforms."""
    assert {coco_normalisation(architecture) for architecture in TORCHVISION} == {IMAGENET}
