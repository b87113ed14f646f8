"""Weight files as people have them: weights that are read, listed, and refused."""

import argparse
from functools import cache

import pytest
import timm
import torch
import torchvision
from fresh_models import fresh_model
from safetensors.torch import save_file

from segsweep.errors import UserError
from segsweep.models.architectures import build_model, build_on_meta
from segsweep.models.encoder_levels import feature_maps
from segsweep.training.weight_file import check_file, load_file_weights, read_weight_file

INTEGER, PUBLISHED = "unet16", "unet-resnet18"


def below(prefix: str, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def through_a_file(content, folder):
    """Return the weights that are read from a `.pth` file with this content."""
    torch.save(content, folder / "w.pth")
    return read_weight_file(folder / "w.pth")


def marked(network: torch.nn.Module, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return a network's state with weights and statistics that no initialisation gives and that no layer cancels."""
    torch.manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and (tensor.dim() == 1 or name.endswith(("gamma", "alpha"))):
            tensor.uniform_(0.5, 1.5)
    return dict(network.state_dict())


@cache
def resnet18(seed: int) -> dict[str, torch.Tensor]:
    """Return the marked state of torchvision's ResNet-18. Read only."""
    return marked(torchvision.models.resnet18(weights=None), seed)


WRAPPED = {  # how a file holds the whole model's state
    "as it is": lambda s: s,
    "DataParallel": lambda s: below("module.", s),
    "Lightning": lambda s: {"state_dict": below("model.", s), "epoch": 3, "hyper_parameters": {"lr": 1e-3}, "loops": {}},
    "Lightning net with a loss": lambda s: {"state_dict": below("net.", s) | {"loss.pos_weight": torch.ones(2)}},
    "compiled": lambda s: below("_orig_mod.", s),
    "compiled in DDP": lambda s: below("module._orig_mod.", s),
    "model_state_dict": lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {}, "param_groups": []}},
    "with Adam's state": lambda s: {"model": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []}},
    "twice the same": lambda s: {"state_dict": s, "model": {name: t.clone() for name, t in s.items()}},
    "any word": lambda s: below("my.own.net.", s),
    "options beside": lambda s: {"state_dict": s, "args": argparse.Namespace(arch="unet")},
}


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.parametrize("scope", ["encoder", "all-but-classifier", "all"])
def test_a_whole_model_is_read_through_any_wrapper(tmp_path, how, scope):
    """A common prefix and nested dictionaries are recognised: exactly the weights in the scope get the file's values."""
    source = marked(build_model(INTEGER, 2, seed=7).network)
    torch.save(WRAPPED[how](source), tmp_path / "w.pth")
    check_file(tmp_path / "w.pth", build_on_meta(INTEGER, 2), scope)
    model = fresh_model(INTEGER)
    report = load_file_weights(model, read_weight_file(tmp_path / "w.pth"), scope)
    moved = {"encoder": ("encoder.",), "all-but-classifier": ("encoder.", "decoder."), "all": ("",)}[scope]
    assert set(report.loaded) == {name for name in source if name.startswith(moved)}
    after = model.network.state_dict()
    assert all(torch.equal(after[name], source[name]) for name in report.loaded)


@cache
def deepest_features() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and the features (B, 512, 2, 2) that torchvision's marked ResNet-18 computes from them."""
    with torch.device("meta"):
        network = torchvision.models.resnet18(weights=None)
    network.load_state_dict(resnet18(0), assign=True)
    network.fc, network.avgpool = torch.nn.Identity(), torch.nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        return images, network.eval()(images).reshape(2, 512, 2, 2)


PUBLISHERS = {  # how a file holds an encoder's state, and what of it must be listed as unused
    "torchvision": (lambda s: s, {"fc.weight", "fc.bias"}),
    "backbone": (lambda s: below("backbone.", s), {"backbone.fc.weight", "backbone.fc.bias"}),
    "mmseg": (
        lambda s: {"state_dict": below("backbone.", s) | {"decode_head.conv_seg.weight": torch.ones(2)}, "meta": {}},
        {"backbone.fc.weight", "backbone.fc.bias", "decode_head.conv_seg.weight"},
    ),
    "model.encoder": (lambda s: below("model.encoder.", s), {"model.encoder.fc.weight", "model.encoder.fc.bias"}),
    "SimSiam": (
        lambda s: below("module.encoder.", s) | {"module.predictor.0.weight": torch.ones(2)},
        {"module.encoder.fc.weight", "module.encoder.fc.bias", "module.predictor.0.weight"},
    ),
    "lightly's numbered children": (
        lambda s: below("backbone.", numbered(s)) | {"projection_head.layers.0.weight": torch.ones(3)},
        {"projection_head.layers.0.weight"},
    ),
}
CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def numbered(state):
    """Return a ResNet's state with the names of `nn.Sequential(*children)`, without the classifier."""
    parts = ((name.partition("."), tensor) for name, tensor in state.items())
    return {f"{CHILDREN.index(top)}.{rest}": tensor for (top, _, rest), tensor in parts if top != "fc"}


@pytest.mark.parametrize("how", PUBLISHERS)
def test_an_encoders_file_gives_the_publishers_features(tmp_path, how):
    """After loading, the encoder's deepest features equal those of the network that wrote the file."""
    wrap, unused = PUBLISHERS[how]
    weights = through_a_file(wrap(dict(resnet18(0))), tmp_path)
    model = fresh_model(PUBLISHED)
    report = load_file_weights(model, weights, "all-but-classifier")
    assert set(report.unused) == unused
    images, expected = deepest_features()
    with torch.no_grad():
        found = model.eval().encoder(images)[-1]
    assert expected.std() > 0
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("wrap", "chosen"),
    [
        (lambda a, b: {"state_dict": below("module.encoder_q.", a) | below("module.encoder_k.", b)}, 0),
        (lambda a, b: {"student": below("module.backbone.", a), "teacher": below("backbone.", b)}, 1),
        (lambda a, b: below("backbone.", a) | below("backbone_momentum.", b), 0),
        (lambda a, b: below("base_encoder.", a) | below("momentum_encoder.", b), 0),
        (lambda a, b: a | below("ema.", b), 0),
    ],
    ids=["MoCo", "DINO", "lightly", "MoCo v3", "beside the file's own"],
)
def test_of_two_networks_the_one_that_its_method_evaluates_is_read(tmp_path, wrap, chosen):
    """MoCo's query encoder, DINO's teacher and the network without momentum are read; the others are listed."""
    sources = [dict(resnet18(seed)) for seed in range(2)]
    model = fresh_model(PUBLISHED)
    report = load_file_weights(model, through_a_file(wrap(*sources), tmp_path), "encoder")
    assert torch.equal(model.encoder.bn1.weight, sources[chosen]["bn1.weight"])
    assert len(report.unused) == len(sources[0]) + 2  # the other network, and the classifier of this one


def test_of_two_different_networks_the_study_must_choose(tmp_path):
    """Two dictionaries that both fit and differ are refused by name, with the way to choose; the chosen one is read."""
    sources = [dict(resnet18(seed)) for seed in range(2)]
    path = tmp_path / "w.pth"
    torch.save({"state_dict": sources[0], "state_dict_ema": sources[1]}, path)
    with pytest.raises(UserError, match=r"w\.pth: holds several .* 'state_dict', 'state_dict_ema'; choose .*@prefix=NAME"):
        check_file(path, build_on_meta(PUBLISHED, 2), "encoder")
    model = fresh_model(PUBLISHED)
    load_file_weights(model, read_weight_file(path, "state_dict_ema"), "encoder")
    assert torch.equal(model.encoder.bn1.weight, sources[1]["bn1.weight"])
    with pytest.raises(UserError, match="no name begins with 'teacher'; names begin with state_dict, state_dict_ema"):
        read_weight_file(path, "teacher")


def test_of_two_networks_the_one_that_fits_is_read():
    """If only one of several dictionaries fits the model, it is read, and the others are listed."""
    fits, other = (marked(torchvision.models.get_model(name, weights=None)) for name in ("resnet18", "mobilenet_v2"))
    model = fresh_model(PUBLISHED)
    report = load_file_weights(model, below("small.", other) | below("big.", fits), "encoder")
    assert report.prefix == "big."
    assert "below 'big.'" in str(report)
    assert set(below("small.", other)) < set(report.unused)


WRONG = [  # file, architecture, names of both sides that the message must show
    ("resnet34", "unet-resnet18", "layer1.2.conv1.weight", "encoder.layer1.1.conv1.weight"),
    ("resnet18", "unet-resnet34", "layer", "encoder.layer1.2.conv1.weight"),
    ("resnet101", "deeplabv3-resnet50", "layer3.6.conv1.weight", "backbone.layer3.5.conv1.weight"),
    ("resnet50", "fcn-resnet101", "layer", "backbone.layer3.6.conv1.weight"),
    ("resnet34", "unet-tu-resnet18", "layer1.2.conv1.weight", "encoder.model.layer1.1.conv1.weight"),
    ("resnet34", "pspnet-tu-resnet18", "layer1.2.conv1.weight", "encoder.model.layer1.1.conv1.weight"),
    ("densenet169", "unet-densenet121", "features.denseblock3.denselayer25.norm1.weight", "encoder.features.denseblock3."),
    ("densenet121", "denseaspp-densenet169", "features", "encoder.features.denseblock3.denselayer25.norm1.weight"),
    ("vgg13_bn", "unet-vgg13", "features.", "encoder.features."),
    ("vgg13", "unet-vgg11", "features.", "encoder.features."),
    ("mobilenet_v3_small", "lraspp-mobilenet_v3_large", "features.", "backbone."),
    ("resnet18", "unet16", "conv1.weight", "encoder.blocks.0.0.weight"),
]


@pytest.mark.parametrize(("given", "architecture", "theirs", "ours"), WRONG, ids=[f"{a} for {b}" for a, b, *_ in WRONG])
def test_another_networks_file_is_refused_with_names_of_both_sides(tmp_path, given, architecture, theirs, ours):
    """The file of a deeper, shallower or other network is refused in one line with names of the file and of the model."""
    with torch.device("meta"):
        state = torchvision.models.get_model(given, weights=None).state_dict()
    small = {name: tensor.shape for name, tensor in state.items() if tensor.numel() < 5_000_000}  # not the classifiers of VGGs
    state = {f"module.{name}": torch.zeros(()).expand(shape) for name, shape in small.items()}  # one number each in the file
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError) as caught:
        check_file(tmp_path / "w.pth", build_on_meta(architecture, 2), "encoder")
    message = str(caught.value)
    assert "\n" not in message
    assert theirs in message
    assert ours in message


@pytest.mark.parametrize(
    ("given", "encoder"),
    [
        ("convnext_femto", "convnext_atto"),
        pytest.param("swin_small_patch4_window7_224", "swin_tiny_patch4_window7_224", marks=pytest.mark.slow),
        ("efficientnet_b1", "efficientnet_b0"),
        ("resnetv2_34", "resnetv2_18"),
        ("regnetx_004", "regnetx_002"),
        ("dla46x_c", "dla46_c"),
    ],
)
@pytest.mark.parametrize("deeper", [True, False])
def test_another_depth_of_timms_is_refused(given, encoder, deeper):
    """The file of a deeper or shallower timm network is refused, however its names are flattened."""
    given, encoder = (given, encoder) if deeper else (encoder, given)
    state = timm.create_model(given).state_dict()
    with pytest.raises(UserError, match=r"transfer=encoder: the (source lacks|source has|shapes of source)"):
        load_file_weights(build_model(f"unet-tu-{encoder}", 2, seed=0), state, "encoder")


FAST = ["resnet18", "resnetv2_18", "regnetx_002", "efficientnet_b0", "convnext_atto", "repvgg_a0", "mobilevit_xxs", "gernet_s"]
FORMS = ["unet-tu-{}"] * len(FAST) + ["pspnet-tu-convnext_atto", "pspnet-tu-resnet18", "dpt-tu-vit_tiny_patch16_224"]
ALL = [
    "resnext50_32x4d", "efficientnet_lite0", "mobilenetv2_050", "mobilenetv3_small_050", "mnasnet_small", "convnextv2_atto",
    "densenet121", "dla34", "hrnet_w18_small", "swin_tiny_patch4_window7_224", "maxvit_rmlp_pico_rw_256", "pvt_v2_b0",
    "mixnet_s", "vgg11", "rexnet_100", "edgenext_xx_small", "poolformer_s12", "efficientvit_b0", "fastvit_t8", "cspresnet50",
    "res2net50_14w_8s", "resnest14d", "selecsls42", "coatnet_pico_rw_224", "focalnet_tiny_srf", "tiny_vit_5m_224",
    "hgnetv2_b0", "caformer_s18", "nf_regnet_b0", "tresnet_m", "ghostnet_050", "xception41", "inception_v4", "dpn48b",
    "mambaout_femto", "hiera_tiny_224", "nextvit_small",
]  # fmt: skip


@pytest.mark.parametrize(
    "architecture",
    [
        *(form.format(name) for form, name in zip(FORMS, FAST, strict=False)),
        *FORMS[len(FAST) :],
        *(pytest.param(f"unet-tu-{name}", marks=pytest.mark.slow) for name in ALL),
        *(pytest.param(f"dpt-tu-{name}", marks=pytest.mark.slow) for name in ("eva02_tiny_patch14_224", "deit_tiny_patch16_224")),
    ],
)
def test_timms_names_give_timms_features(architecture):
    """The state of timm's whole network, with timm's names, gives the features that this network computes."""
    network = timm.create_model(architecture.partition("-tu-")[2])
    source, model = marked(network), build_model(architecture, 2, seed=0)
    load_file_weights(model, below("module.", source), "encoder")
    side = network.pretrained_cfg["input_size"][-1]
    if side < 256 and not network.pretrained_cfg.get("fixed_input_size"):
        side = 96
    images = torch.rand(1, 3, side, side)
    with torch.no_grad():
        found = feature_maps(model.eval().encoder(images))[-1]
        levels = network.eval().forward_intermediates(images, intermediates_only=True)
    assert found.std() > 0
    scale = found.abs().max()
    assert any(level.shape == found.shape and torch.allclose(level / scale, found / scale, atol=1e-4) for level in levels)


@pytest.mark.parametrize("name", ["convnext_atto", "resnet18", "densenet121"])
def test_timms_features_only_form_is_read(name):
    """The state of timm's features-only network, whose names are flattened, provides all of the encoder's weights."""
    source = marked(timm.create_model(name, features_only=True))
    model = build_model(f"unet-tu-{name}", 2, seed=0)
    assert not load_file_weights(model, below("backbone.", source), "encoder").unused
    found = model.encoder.state_dict()
    assert all(torch.equal(found[f"model.{name}"], tensor) for name, tensor in source.items())


def test_every_weight_of_timms_network_is_loaded_or_listed():
    """Weights that a features-only encoder lacks, of classifier and late layers, are listed; none is dropped silently."""
    source = timm.create_model("convnext_atto").state_dict()
    report = load_file_weights(build_model("pspnet-tu-convnext_atto", 2, seed=0), source, "encoder")
    assert len(report.loaded) + len(report.unused) == len(source)
    assert {name.partition(".")[0] for name in report.unused} == {"stages", "head"}
    assert "stages " in str(report)


@pytest.mark.parametrize(("scope", "classes"), [("encoder", 2), ("all-but-classifier", 2), ("all", 21)])
def test_torchvisions_auxiliary_head_is_listed(scope, classes):
    """torchvision's published networks have a head for training only, which is listed; all weights in the scope are loaded."""
    source = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    ).state_dict()
    model = build_model("deeplabv3-resnet50", classes, seed=0)
    report = load_file_weights(model, source, scope)
    auxiliary = {name for name in source if name.startswith("aux_classifier.")}
    assert auxiliary <= set(report.unused)
    if scope == "all":
        assert set(report.unused) == auxiliary
        assert not report.kept
    else:
        assert torch.equal(model.network.backbone.bn1.weight, source["backbone.bn1.weight"])


def test_another_decoder_is_refused_unless_only_the_encoder_moves():
    """The file of another decoder on the same encoder provides its encoder; for a larger scope, it is refused."""
    source = build_model("linknet-resnet18", 2, seed=7).network.state_dict()
    model = build_model("unet-resnet18", 2, seed=0)
    with pytest.raises(UserError, match=r"transfer=all-but-classifier: the source lacks decoder\."):
        load_file_weights(model, source, "all-but-classifier")
    load_file_weights(model, source, "encoder")
    assert torch.equal(model.encoder.conv1.weight, source["encoder.conv1.weight"])


@pytest.mark.parametrize("name", ["decoder.extra.weight", "attention.weight", "encoder.layer9.weight", "encoder.layer1.7.weight"])
def test_no_weight_in_the_scope_stays_unused(name):
    """A weight in the scope that the model lacks is refused by its name in the file."""
    source = {**build_model(PUBLISHED, 2, seed=7).network.state_dict(), name: torch.ones(1)}
    if name == "encoder.layer9.weight":  # a module that the encoder has nothing of: listed, as a classifier is
        assert load_file_weights(build_model(PUBLISHED, 2, 0), source, "all-but-classifier").unused[-1] == name
        return
    with pytest.raises(UserError, match="has module.{}.*, which the model lacks".format(name.replace(".", r"\."))):
        load_file_weights(fresh_model(PUBLISHED), below("module.", source), "all-but-classifier")


def test_missing_counters_are_filled():
    """A file from before the introduction of counters gets zeros, also of a whole model; a file that lacks some is refused."""
    source = build_model(PUBLISHED, 2, seed=7).network.state_dict()
    without = {name: tensor for name, tensor in source.items() if not name.endswith("num_batches_tracked")}
    model = fresh_model(PUBLISHED)
    model.encoder.bn1.num_batches_tracked += 5
    assert not load_file_weights(model, below("module.", without), "all").kept
    assert int(model.encoder.bn1.num_batches_tracked) == 0
    some = {name: tensor for name, tensor in source.items() if name != "encoder.bn1.num_batches_tracked"}
    with pytest.raises(UserError, match=r"lacks encoder\.bn1\.num_batches_tracked; it has "):
        load_file_weights(model, some, "all")


def test_half_precision_is_read_as_float32(tmp_path):
    """A safetensors file in half precision gives the same values in the model's precision."""
    source = {
        name: t.half() if t.is_floating_point() else t for name, t in build_model(INTEGER, 2, 7).network.state_dict().items()
    }
    save_file(below("module.", source), tmp_path / "w.safetensors")
    model = fresh_model(INTEGER)
    load_file_weights(model, read_weight_file(tmp_path / "w.safetensors"), "all")
    after = model.network.state_dict()
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in after.values())
    assert all(torch.equal(after[name], tensor.to(after[name].dtype)) for name, tensor in source.items())


def test_classes_that_a_file_needs_are_named(tmp_path):
    """A `.pth` file that needs a class to be read is refused by the name of that class, which is not loaded."""
    torch.save({"state_dict": {"a": torch.ones(1)}, "when": Odd()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"holds more than tensors \(.*Odd\)"):
        read_weight_file(tmp_path / "w.pth")


class Odd:
    """A class that no weight file needs."""
