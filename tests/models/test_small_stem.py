import pytest
import torch

from segsweep.errors import UserError
from segsweep.models.architectures import build_encoder, build_model
from segsweep.models.encoder_levels import feature_maps
from segsweep.models.encoder_name import resnet_stem
from segsweep.models.freeze import check_freeze_fits, freeze
from segsweep.models.small_stem import use_small_stem
from segsweep.models.transfer import transfer_weights

NAMES = ("resnet18", "tu-resnet18", "tu-resnet18@pspnet")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("resnet50", ("conv1.", "bn1.")),
        ("resnet101", ("conv1.", "bn1.")),
        ("tu-resnet18.a1_in1k", ("model.conv1.", "model.bn1.")),
        ("tu-resnet18@pspnet", ("model.conv1.", "model.bn1.")),
        *(
            (other, ())
            for other in ("tu-resnet50d", "resnext50_32x4d", "mobilenet_v2", "unet16", "unet", "own:resnet18", "densenet121")
        ),
    ],
)
def test_only_resnets_with_one_convolution_have_a_stem_to_replace(name, stem):
    """ResNets of 18 to 152 layers have a stem with these name prefixes; no other encoder has a small stem."""
    assert resnet_stem(name) == stem


@pytest.mark.parametrize("name", NAMES)
def test_the_small_stem_is_a_convolution_at_stride_1(name):
    """At 32 px, the deepest map is four times as wide as with the usual stem; all weights except the first keep their name and
    shape.
    """
    usual, small = build_encoder(name, 0).eval(), use_small_stem(build_encoder(name, 0), name, 0).eval()
    images = torch.rand(2, 3, 32, 32)
    sides = [feature_maps(encoder(images))[-1].shape[-1] for encoder in (usual, small)]
    assert sides[1] == 4 * sides[0]
    before, after = usual.state_dict(), small.state_dict()
    assert before.keys() == after.keys()
    first = f"{resnet_stem(name)[0]}weight"
    assert after[first].shape == (64, 3, 3, 3)
    assert all(torch.equal(after[other], before[other]) for other in before if other != first)


def test_the_small_stem_depends_only_on_the_seed():
    """Equal seeds give equal stems; the global random state is neither read nor changed; the deviation is He's."""
    torch.manual_seed(1)
    one = use_small_stem(build_encoder("resnet18", 0), "resnet18", 3).conv1.weight
    expected = torch.rand(2)
    torch.manual_seed(1)
    again, other = (use_small_stem(build_encoder("resnet18", 0), "resnet18", seed).conv1.weight for seed in (3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.rand(2), expected)
    assert float(one.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)


def stemless(name: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The weights of an encoder without its stem, as a model names them, and how the names of the stem begin there."""
    encoder = use_small_stem(build_encoder(name, 9), name, 9)
    stem = resnet_stem(name)
    weights = {f"encoder.{key}": value for key, value in encoder.state_dict().items() if not key.startswith(stem)}
    return weights, [f"encoder.{each}" for each in stem]


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet18"])
def test_a_stem_declared_absent_keeps_its_initial_weights(name):
    """All weights except the stem's are loaded; the report lists the stem, and without the declaration nothing is loaded."""
    weights, stem = stemless(name)
    model, fresh = (build_model(f"unet-{name}", 2, seed=1) for _ in range(2))
    with pytest.raises(UserError, match="the source lacks"):
        transfer_weights(model, weights, "encoder")
    report = transfer_weights(model, weights, "encoder", absent=stem)
    before, after = fresh.network.state_dict(), model.network.state_dict()
    inside = {key for key in after if key.startswith("encoder.")}
    assert set(report.loaded) | set(report.absent) == inside
    assert set(report.absent) == {key for key in after if key.startswith(tuple(stem))} <= set(report.kept)
    assert all(torch.equal(after[key], before[key]) for key in report.absent)
    assert all(torch.equal(after[key], weights[key]) for key in report.loaded)
    assert f"not transferred, since the source has another stem: {stem[0]}weight, {stem[1]}weight" in str(report)


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet18"])
@pytest.mark.parametrize("policy", ["encoder", "encoder:2", "norm"])
def test_a_fresh_stem_is_trained_under_every_policy(name, policy):
    """The stem's weights have gradients and its statistics change, while the other parts that the policy names are frozen."""
    weights, stem = stemless(name)
    model = build_model(f"unet-{name}", 2, seed=1)
    report = transfer_weights(model, weights, "encoder", absent=stem)
    freeze(model, policy, report.loaded, report.absent)
    model.train()
    fresh = [parameter for key, parameter in model.network.named_parameters() if key.startswith(tuple(stem))]
    assert len(fresh) == 3
    assert all(parameter.requires_grad for parameter in fresh)
    assert not any(model.freezes_statistics(each.rstrip(".")) for each in stem)
    held = {"encoder": "layer4", "encoder:2": "layer1", "norm": "layer4.0.bn1"}[policy]
    below = stem[0].removesuffix("conv1.")
    assert model.freezes_statistics(f"{below}{held}")
    assert model.network.get_submodule(stem[1].rstrip(".")).training
    assert not model.network.get_submodule(f"{below}layer1.0.bn1").training


def test_an_encoder_is_unfrozen_from_its_deepest_level():
    """Levels of an encoder with a fresh stem are unfrozen deepest first; the stem is not frozen."""
    weights, stem = stemless("resnet18")
    model = build_model("unet-resnet18", 2, seed=1)
    report = transfer_weights(model, weights, "encoder", absent=stem)
    freeze(model, "encoder", report.loaded, report.absent)
    released = []
    while model.unfreeze_level():
        released.append(sum(any(p.requires_grad for p in each.parameters()) for each in list(model.encoder.children())[4:8]))
    assert released == [1, 2, 3, 4]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_freezing_only_an_absent_level_is_refused():
    """`encoder:1` of an encoder without its stem would freeze nothing: one line states it, before a device is reserved."""
    with pytest.raises(
        UserError, match=r"^architecture 'unet-resnet18': freeze='encoder:1': the source has none .*ssl_stem=usual$"
    ):
        check_freeze_fits("unet-resnet18", "encoder:1", resnet_stem("resnet18"))
    check_freeze_fits("unet-resnet18", "encoder:2", resnet_stem("resnet18"))
    check_freeze_fits("unet-resnet18", "encoder:1")
