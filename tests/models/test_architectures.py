from functools import cache
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision
from segmentation_models_pytorch.encoders import get_encoder

from segsweep.errors import UserError
from segsweep.models.architectures import (
    NAMED,
    PLAIN,
    build_model,
    build_on_meta,
    check_architecture,
    encoder_name,
    encoder_names,
)
from segsweep.models.dense_aspp import RATES
from segsweep.models.freeze import freeze
from segsweep.models.measure import measure
from segsweep.models.smp_models import AS_IN_PAPER, DECODERS, build_smp_encoder
from segsweep.models.torchvision_models import TORCHVISION

TINY_TIMM = "tu-mobilenetv3_small_050"


@cache
def encoder_shapes(name: str) -> dict[str, torch.Size]:
    """Return the names and shapes of an encoder of smp that is built alone."""
    with torch.device("meta"):
        return shapes(get_encoder(name, weights=None))


def shapes(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def plain_unet_parameters(width: int, classes: int) -> int:
    """Return the number of parameters of the plain U-Net from the paper's figure, with normalisation instead of the 3x3 layers'
    biases.
    """
    count, before = 0, 3
    for channels in [width * 2**level for level in range(5)]:
        count += 9 * before * channels + 2 * channels + 9 * channels * channels + 2 * channels
        before = channels
    for channels in [width * 2**level for level in (3, 2, 1, 0)]:
        count += 4 * before * channels + channels  # 2x2 transposed convolution
        count += 9 * 2 * channels * channels + 2 * channels + 9 * channels * channels + 2 * channels
        before = channels
    return count + width * classes + classes


@pytest.mark.parametrize(("name", "classes"), [("unet16", 2), ("unet16", 5), ("unet", 2)])
def test_plain_unet_has_the_papers_parameters(name, classes):
    """The plain U-Net has exactly the parameters of its layers, for any number of classes."""
    expected = plain_unet_parameters(PLAIN[name], classes)
    assert build_model(name, classes, seed=0).parameter_counts() == (expected, expected)


@pytest.mark.parametrize("classes", [1, 3])
def test_plain_unet_without_normalisation_has_the_published_layers(classes):
    """`unet_no_norm` has only the paper's layers, convolutions with biases and ReLUs: 31,031,745 parameters with one output
    channel.
    """
    model = build_model("unet_no_norm", classes, seed=0)
    assert model.parameter_counts()[0] == 31_031_745 + (classes - 1) * (64 + 1)
    kinds = {type(module).__name__ for module in model.network.modules() if not list(module.children())}
    assert kinds == {"Conv2d", "ConvTranspose2d", "ReLU"}
    assert not list(model.network.buffers())


def test_plain_unet_has_64_to_1024_channels():
    """The encoder of `unet` has blocks of 64, 128, 256, 512 and 1024 channels at sides divided by 1, 2, 4, 8 and 16."""
    encoder = build_model("unet", 2, seed=0).encoder
    with torch.no_grad():
        features = encoder(torch.zeros(1, 3, 32, 32))
    assert [tuple(part.shape[1:]) for part in features] == [
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (1024, 2, 2),
    ]


def test_plain_unet_uses_its_skips():
    """The finest pixels of the encoder reach the logits through the skip only: they matter even if the deep path is cut."""
    network = build_model("unet16", 2, seed=0).network.eval()
    with torch.no_grad():
        for up in network.decoder.up:
            up.weight.zero_()
        one, other = network(torch.zeros(1, 3, 16, 16)), network(torch.ones(1, 3, 16, 16))
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    "name",
    [
        "unet16", "unet-resnet18", "deeplabv3plus-mobilenet_v2", "fpn-tu-resnet18", "segformer-mit_b0", "upernet-resnet18",
        "dpt-tu-vit_tiny_patch16_224", "denseaspp-densenet121", "deeplabv3-resnet18",
    ],
)  # fmt: skip
@pytest.mark.parametrize("classes", [2, 4])
def test_logits_have_a_channel_per_class_and_the_size_of_the_image(name, classes):
    """Images (B, 3, H, W) give logits (B, classes, H, W)."""
    model = build_model(name, classes, seed=0).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, classes, 32, 32)


@pytest.mark.parametrize("name", ["unet16", "unet-mobilenet_v2", "denseaspp-densenet121", "lraspp-mobilenet_v3_large"])
def test_weights_depend_only_on_the_seed(name):
    """Equal seeds give equal weights, whatever the global random state; another seed gives other weights."""
    torch.manual_seed(1)
    first = build_model(name, 2, seed=3).state_dict()
    torch.manual_seed(2)
    second, other = build_model(name, 2, seed=3).state_dict(), build_model(name, 2, seed=4).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    heads = [key for key in first if first[key].ndim > 1 and ("classifier" in key or "segmentation_head" in key)]
    assert heads
    assert not any(torch.equal(first[key], other[key]) for key in heads)


def test_building_leaves_the_global_random_state_alone():
    """Building and checking a model neither reads nor changes torch's global random state."""
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_model("unet-resnet18", 2, seed=0)
    check_architecture("manet-resnet18", 64)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("decoder", "encoder"),
    [
        *((decoder, "resnet18") for decoder in DECODERS if decoder != "dpt"),
        *((decoder, "tu-resnet18") for decoder in DECODERS if decoder != "dpt"),
        ("pspnet", "mobilenet_v2"),
        ("unet", "densenet121"),
        ("fcn", "resnet50"),
        ("deeplabv3", "resnet101"),
        ("denseaspp", "densenet121"),
        ("cutdenseaspp", "densenet161"),
    ],
)
def test_encoder_is_the_same_under_every_decoder(decoder, encoder):
    """If two architectures name the same encoder, it has the same weight names and shapes in both, so a stage keyed by it fits
    both.
    """
    model = build_on_meta(f"{decoder}-{encoder}", 2)
    assert (encoder_name(f"{decoder}-{encoder}") == encoder) == (shapes(model.encoder) == encoder_shapes(encoder))
    names = model.network.state_dict().keys()
    assert {model.parts.encoder + name for name in shapes(model.encoder)} <= names
    assert any(name.startswith(model.parts.classifier) for name in names)


def dilations(network: torch.nn.Module) -> list[int]:
    """Return the dilations of the dilated 3x3 convolutions, in order."""
    convolutions = [each for each in network.modules() if isinstance(each, torch.nn.Conv2d) and each.kernel_size == (3, 3)]
    return [each.dilation[0] for each in convolutions if each.dilation != (1, 1)]


@pytest.mark.parametrize(
    ("name", "stride", "rates"),
    [
        ("deeplabv3plus-resnet18", 16, [6, 12, 18]),
        ("deeplabv3plus-mobilenet_v2", 16, [6, 12, 18]),
        ("deeplabv3plus-tu-resnet18", 16, [6, 12, 18]),
        ("deeplabv3-resnet18", 8, [12, 24, 36]),
        ("deeplabv3-resnet50", 8, [12, 24, 36]),
        ("denseaspp-densenet121", 8, [3, 6, 12, 18, 24]),
        ("pan-resnet18", 16, []),
        ("pspnet-resnet18", 8, []),
        ("deeplabv3-mobilenet_v3_large", 16, [12, 24, 36]),  # as torchvision's weights were trained, not as in the paper
    ],
)
def test_atrous_rates_and_output_stride_are_those_of_the_papers(name, stride, rates):
    """Chen et al. 2018 use rates 6, 12 and 18 at output stride 16; at stride 8 they are doubled (Chen et al. 2017)."""
    model = build_on_meta(name, 2)
    head = torch.nn.ModuleList(each for part, each in model.network.named_children() if f"{part}." != model.parts.encoder)
    assert dilations(head) == rates
    assert measure(name, 2, 128).output_stride == stride


def test_fpn_has_no_dropout():
    """The semantic branch of Kirillov et al. 2019 has no dropout: two forward passes in train mode give the same logits."""
    model = build_model("fpn-resnet18", 2, seed=0).train()
    for each in model.modules():
        if isinstance(each, torch.nn.modules.batchnorm._BatchNorm):
            each.momentum = 0.0
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(images), model(images))


@pytest.mark.parametrize("decoder", AS_IN_PAPER)
def test_options_of_the_papers_change_no_weight(decoder):
    """The options that follow the papers keep the names and shapes of smp's defaults, so checkpoints of smp's decoders fit."""
    ours = build_on_meta(f"{decoder}-resnet18", 2)
    assert shapes(ours.network) == shapes(DECODERS[decoder]("resnet18", encoder_weights=None, classes=2))


@pytest.mark.parametrize("decoder", [*DECODERS, *RATES, *(name.partition("-")[0] for name in TORCHVISION), *PLAIN])
def test_the_page_on_models_compares_each_decoder_with_its_paper(decoder):
    """The table of decoders in `segsweep/models/README.md` has a row for every decoder."""
    page = (Path(__file__).parents[2] / "segsweep" / "models" / "README.md").read_text(encoding="utf-8")
    table = page.partition("| decoder | as in the paper |")[2].partition("\n\n")[0]
    names = " ".join(line.split("|")[1] for line in table.splitlines()[1:] if line.startswith("|"))
    assert f"`{decoder}-" in names or f"`{decoder}`" in names


@pytest.mark.parametrize("name", ["pspnet-tu-resnet18", "dpt-tu-vit_tiny_patch16_224", "unet-tu-resnet18"])
def test_encoder_alone_is_that_of_the_architecture(name):
    """An encoder that is built by its name has the weight names and shapes of the encoder in the architecture."""
    assert shapes(build_smp_encoder(encoder_name(name), weights=None)) == shapes(build_on_meta(name, 2).encoder)


@pytest.mark.parametrize(("name", "encoder"), [("unet", "unet"), ("unet16", "unet16"), ("unet-tu-resnet18", "tu-resnet18")])
def test_encoders_have_distinct_names(name, encoder):
    """The encoders of plain U-Nets have the names of the networks; timm's encoders keep their prefix."""
    assert encoder_name(name) == encoder


@pytest.mark.parametrize(
    ("name", "trainable", "total"),
    [
        ("fcn-resnet50", 9_439_747, 33e6),
        ("deeplabv3-resnet50", 16_126_211, 39e6),
        ("denseaspp-densenet121", 2_220_675, 10e6),
        ("cutdenseaspp-densenet161", 2_197_347, 30e6),
    ],
)
def test_published_parameter_counts(name, trainable, total):
    """With 3 classes and a frozen encoder, the numbers of trainable parameters equal the published ones; the totals agree
    approximately.
    """
    model = build_on_meta(name, 3)
    freeze(model, "encoder")
    counted = model.parameter_counts()
    assert counted[0] == trainable
    assert counted[1] == pytest.approx(total, rel=0.09)  # published as whole millions


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks_have_torchvisions_parameters(name):
    """A torchvision network has torchvision's weight names and shapes, and logits at the size of the image, for any size."""
    model = build_model(name, 21, seed=0).eval()
    entry = torchvision.models.get_model_weights(TORCHVISION[name].name).COCO_WITH_VOC_LABELS_V1
    with torch.device("meta"):
        options = {} if name.startswith("lraspp") else {"aux_loss": True}
        reference = torchvision.models.get_model(TORCHVISION[name].name, weights=None, weights_backbone=None, **options)
    auxiliary = {key: p.numel() for key, p in reference.named_parameters() if key.startswith("aux_classifier.")}
    assert shapes(model.network) == {
        key: shape for key, shape in shapes(reference).items() if not key.startswith("aux_classifier.")
    }
    assert model.parameter_counts()[1] == entry.meta["num_params"] - sum(auxiliary.values())
    with torch.no_grad():
        images = torch.rand(1, 3, 41, 50)
        assert torch.equal(model(images), model.network(images)["out"])
        assert model(images).shape == (1, 21, 41, 50)


@pytest.mark.parametrize("name", NAMED)
def test_every_named_architecture_can_be_built(name):
    """Every architecture that the command lists passes the check at the papers' size."""
    check_architecture(name, 256)


@pytest.mark.parametrize(
    ("name", "image_px", "words"),
    [
        ("vnet", 32, ("unknown name 'vnet'", "nearest: unet, unet4, unet16; all 31: segsweep models")),
        ("segnet-resnet18", 32, ("unknown name 'segnet-resnet18'", "all 31: segsweep models")),
        ("unet-resnet19", 32, ("unknown encoder 'resnet19'", "resnet18", "segsweep models")),
        ("unet-tu-resnt18", 32, ("unknown encoder 'tu-resnt18'", "tu-resnet18")),
        ("fcn-resnet18", 64, ("unknown name 'fcn-resnet18'", "fcn-resnet50")),
        ("denseaspp-resnet50", 64, ("unknown name 'denseaspp-resnet50'", "nearest: denseaspp-densenet")),
        ("unet-", 64, ("unknown name 'unet-'",)),
        ("unet-tu-resnet18.no_such_tag", 64, ("unknown encoder", "tu-resnet18")),
        ("fcn-resnet50", 31, ("image_px=31", "at least 32")),
        ("dpt-tu-resnet18", 64, ("dpt-tu-resnet18",)),
        ("unet16", 40, ("image_px=40", "multiple of 16")),
        ("unet-resnet18", 48, ("image_px=48", "multiple of 32")),
        ("deeplabv3plus-densenet121", 64, ("deeplabv3plus-densenet121", "DenseNet encoders do not support dilated")),
        ("unetplusplus-mit_b0", 64, ("unetplusplus-mit_b0", "mit_b0")),
        ("pan-resnet18", 64, ("image_px=64", "too small")),
        ("unet-tu-swin_tiny_patch4_window7_224", 64, ("doesn't match model (224)",)),
    ],
)
def test_architecture_that_cannot_be_built_is_refused_in_one_line(name, image_px, words):
    """An architecture that cannot be built is refused before training, in one line that lists the known names or states the
    error.
    """
    with pytest.raises(UserError) as caught:
        check_architecture(name, image_px)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "unet", "unet16", "unet-mobilenet_v2", "pan-resnet18", "unet-mit_b0", "unet-tu-convnext_atto", "unet-tu-resnet18.a1_in1k",
        "dpt-tu-vit_tiny_patch16_224",
    ],
)  # fmt: skip
def test_architecture_that_can_be_built_passes(name):
    """Plain, published and timm encoders pass the check at 128 px, including encoders that cannot run on the meta device."""
    check_architecture(name, 128)


def test_the_listed_encoders_include_the_published_ones():
    """The list that `segsweep models` prints includes the encoders of the published studies."""
    assert {"resnet50", "vgg16", "mobilenet_v2", "densenet121"} <= set(encoder_names())


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", ["unet16", "unet-resnet18", "lraspp-mobilenet_v3_large", "denseaspp-densenet121"])
def test_a_single_logit_is_completed_by_zero(name, number):
    """With a sigmoid class, the network has one output channel, the logit of that class; the logit of the other class is 0."""
    model = build_model(name, 2, seed=0, sigmoid_class=number).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, output = model(images), model.network(images)
    one = output["out"] if isinstance(output, dict) else output
    assert one.shape == (2, 1, 32, 32)
    assert torch.equal(logits[:, number], one[:, 0])
    assert not logits[:, 1 - number].any()
    assert torch.equal(logits.argmax(dim=1) == number, one[:, 0] > 0)
    torch.testing.assert_close(logits.softmax(dim=1)[:, number], one[:, 0].sigmoid())


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("unet-vgg16", lambda: smp.Unet("vgg16", encoder_weights=None, classes=1)),
        ("unet-resnet50", lambda: smp.Unet("resnet50", encoder_weights=None, classes=1)),
        ("deeplabv3-resnet50", lambda: torchvision.models.get_model("deeplabv3_resnet50", weights_backbone=None, num_classes=1)),
    ],
)
def test_a_single_logit_has_the_parameters_of_the_librarys_one_channel_head(name, theirs):
    """A model of one logit has exactly the parameters, by name and shape, of the library's network with one output channel."""
    with torch.device("meta"):
        ours = build_model(name, 2, seed=0, sigmoid_class=1)
        wanted = {key: parameter.shape for key, parameter in theirs().named_parameters()}
    assert {key: parameter.shape for key, parameter in ours.network.named_parameters()} == wanted
    assert ours.parameter_counts()[0] == sum(shape.numel() for shape in wanted.values())
