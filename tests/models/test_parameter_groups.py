import pytest
import torch

from segsweep.models.architectures import build_model
from segsweep.models.freeze import freeze
from segsweep.models.parameter_groups import parameter_groups


def test_equal_rates_are_one_group_in_the_models_order():
    """With factor and decay 1, there is one group of all trained parameters, in the order of `model.parameters()`."""
    model = build_model("unet-resnet18", 2, seed=0)
    freeze(model, "encoder:1")
    (group,) = parameter_groups(model, 0.1)
    assert group["lr"] == 0.1
    assert all(a is b for a, b in zip(group["params"], model.trainable(), strict=True))


def test_rates_fall_towards_the_input():
    """The head has the learning rate; level s of S has the rate times the factor times the decay to the power of S - s."""
    model = build_model("unet-resnet18", 2, seed=0)
    groups = parameter_groups(model, 1e-2, encoder_lr_factor=0.1, layer_decay=0.5)
    assert [group["lr"] for group in groups] == pytest.approx([1e-2, 6.25e-5, 1.25e-4, 2.5e-4, 5e-4, 1e-3])
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    encoder = model.network.encoder
    for module, rate in (
        (encoder.conv1, 6.25e-5),
        (encoder.layer1, 1.25e-4),
        (encoder.layer4, 1e-3),
        (model.network.decoder, 1e-2),
    ):
        assert [rates[id(p)] for p in module.parameters()] == [pytest.approx(rate)] * len(list(module.parameters()))


@pytest.mark.parametrize("name", ["unet16", "deeplabv3-resnet50", "dpt-tu-vit_tiny_patch16_224"])
@pytest.mark.parametrize("rates", [(0.1, 1.0), (1.0, 0.9)])
def test_every_trained_parameter_is_in_one_group(name, rates):
    """All trained parameters are in exactly one group, as torch's optimisers require; no group is empty."""
    model = build_model(name, 2, seed=0)
    groups = parameter_groups(model, 1e-3, *rates)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    torch.optim.AdamW(groups)


def test_frozen_parameters_are_left_out_by_default():
    """A frozen encoder has no group, unless all parameters are requested; an optimiser then leaves it unchanged until it is
    unfrozen.
    """
    model = build_model("unet16", 2, seed=0)
    freeze(model, "encoder")
    assert len(parameter_groups(model, 1e-3, 0.1, 0.5)) == 1
    groups = parameter_groups(model, 1e-3, 0.1, 0.5, all_parameters=True)
    assert len(groups) == 6
    before = {name: parameter.clone() for name, parameter in model.network.named_parameters()}
    optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
    model(torch.rand(2, 3, 16, 16)).sum().backward()
    optimizer.step()
    still = {name for name, parameter in model.network.named_parameters() if torch.equal(parameter, before[name])}
    assert still == {name for name in before if name.startswith("encoder.")}
    (group,) = parameter_groups(model, 1e-3, all_parameters=True)
    assert len(group["params"]) == len(before)
