import pytest
import torch

from segsweep.errors import UserError
from segsweep.models.architectures import NAMED, build_model, build_on_meta
from segsweep.models.encoder_levels import feature_maps, levels_by_features
from segsweep.models.segmentation_model import Parts, SegmentationModel

TIMM = ("unet-tu-mobilenetv3_small_050", "unet-tu-hrnet_w18_small", "unet-tu-swin_tiny_patch4_window7_224", "pspnet-tu-resnet18")


def under(name: str, level: tuple[str, ...]) -> bool:
    return any(name == part or (part.endswith(".") and name.startswith(part)) for part in level)


@pytest.mark.parametrize("name", [*NAMED, *TIMM, "deeplabv3plus-tu-convnext_atto", "unet-efficientnet-b0"])
def test_levels_cover_the_encoder_once(name):
    """Every parameter of the encoder lies in exactly one level, and no other parameter lies in any."""
    model = build_on_meta(name, 2)
    for parameter, _ in model.network.named_parameters():
        held = sum(under(parameter, level) for level in model.encoder_levels)
        assert held == parameter.startswith(model.parts.encoder), parameter
    assert 3 <= len(model.encoder_levels) <= 5


@pytest.mark.parametrize("name", ["unet-resnet18", "unet-mobilenet_v2", "denseaspp-densenet121", "unet16", "segformer-mit_b0"])
def test_levels_run_from_input_to_output(name):
    """The first level has the parameters next to the input, the last level those next to the output."""
    model, order = build_model(name, 2, seed=0).eval(), []
    levels = model.encoder_levels
    for path, module in model.encoder.named_modules():
        if list(module.parameters(recurse=False)):
            module.register_forward_hook(lambda *_, path=path: order.append(path))
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64))
    reached = [next(n for n, level in enumerate(levels) if under(f"encoder.{path}.", level)) for path in order]
    assert reached[0] == 0
    assert reached == sorted(reached)
    assert set(reached) == set(range(len(levels)))


def test_resnets_levels_are_stem_and_layers():
    """torchvision's and smp's ResNet-50 have the same five levels: the stem, and its four layers."""
    expected = [("conv1.", "bn1."), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",)]
    for name, prefix in (("unet-resnet50", "encoder."), ("fcn-resnet50", "backbone."), ("deeplabv3plus-resnet50", "encoder.")):
        levels = build_on_meta(name, 2).encoder_levels
        assert [tuple(part.removeprefix(prefix) for part in level) for level in levels] == expected


def test_a_bare_parameter_is_named_alone():
    """A parameter that belongs to no submodule, such as a ViT's position embedding, is listed by its full name."""
    first = build_on_meta("dpt-tu-vit_tiny_patch16_224", 2).encoder_levels[0]
    assert {"encoder.model.pos_embed", "encoder.model.cls_token", "encoder.model.patch_embed."} < set(first)


def test_finding_levels_changes_nothing():
    """Finding the levels changes neither weights, statistics, mode nor the global random state."""
    model = build_model("unet-tu-convnext_atto", 2, seed=0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert len(model.encoder_levels) == 4
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(tensor.device.type == "cpu" for tensor in model.state_dict().values())


def test_encoder_that_fails_on_the_meta_device_is_refused():
    """The levels of an encoder whose control flow depends on values cannot be determined; the error names the freeze policies
    that work.
    """

    class Fickle(torch.nn.Conv2d):
        def forward(self, x):
            return [super().forward(x)] if x.sum().item() > 0 else []

    network = torch.nn.Sequential(Fickle(3, 2, 1))
    assert levels_by_features(network[0]) is None
    with pytest.raises(UserError, match="Fickle: the levels of this encoder cannot be determined; use freeze none or encoder"):
        _ = SegmentationModel(network, Parts("0.", "1.")).encoder_levels


def test_a_tuple_of_maps_is_the_maps():
    """A tuple of feature maps becomes a list of them; a tuple that starts with a list, as from smp's ViTs, becomes that list."""
    first, second = torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 2, 2)
    assert [each.shape for each in feature_maps((first, second))] == [first.shape, second.shape]
    assert [each.shape for each in feature_maps(([first, second], [None]))] == [first.shape, second.shape]


def test_feature_maps_of_every_kind_of_output():
    """A tensor, a list, torchvision's dictionary and a ViT's pair all become a list with the deepest map last."""
    shallow, deep = torch.zeros(1), torch.ones(1)
    assert feature_maps(deep)[-1] is deep
    assert feature_maps([shallow, deep])[-1] is deep
    assert feature_maps({"low": shallow, "high": deep})[-1] is deep
    assert feature_maps(([shallow, deep], [None, None]))[-1] is deep
