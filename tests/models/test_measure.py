from functools import cache

import pytest
import torch
import torchvision

from segsweep.errors import UserError
from segsweep.models.measure import Cost, measure


@cache
def cost_at_256(name: str) -> Cost:
    """Return the cost of a model with three classes at 256 px."""
    return measure(name, 3, 256)


@pytest.mark.parametrize(
    ("name", "encoder", "head"),
    [
        ("fcn-resnet50", 24.9, 9.7),
        ("deeplabv3-resnet50", 24.9, 16.0),
        ("unet-vgg16", 20.0, 4.7),
        ("unet-resnet50", 5.3, 5.3),
        ("unet-densenet121", 3.7, 4.7),
        ("unet-mobilenet_v2", 0.4, 3.0),
        ("deeplabv3plus-mobilenet_v2", 0.7, 0.8),
        ("deeplabv3plus-resnet50", 8.1, 1.0),
    ],
)
def test_multiply_adds_agree_with_independent_figures(name, encoder, head):
    """At 256 px, the multiply-adds of encoder and head are within 2 % of independent figures, which have one decimal."""
    cost = cost_at_256(name)
    assert cost.encoder_gmacs == pytest.approx(encoder, rel=0.02, abs=0.05)
    assert cost.head_gmacs == pytest.approx(head, rel=0.02, abs=0.05)
    assert cost.gmacs == pytest.approx(cost.encoder_gmacs + cost.head_gmacs)


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "densenet121", "mobilenet_v2"])
def test_encoder_has_the_published_parameters(name):
    """An encoder has as many parameters as torchvision publishes for the network, minus those of its classifier."""
    published = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta["num_params"]
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    classifier = sum(p.numel() for p in (network.fc if name == "resnet50" else network.classifier).parameters())
    assert cost_at_256(f"unet-{name}").encoder_parameters == published - classifier


def test_encoder_has_the_published_multiply_adds():
    """At 224 px, the encoder's multiply-adds are those that torchvision publishes for ResNet-50, without its classifier."""
    published = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["_ops"] - 2048 * 1000 / 1e9
    assert measure("unet-resnet50", 2, 224).encoder_gmacs == pytest.approx(published, rel=0.001)


@pytest.mark.parametrize(
    ("name", "stride", "levels"),
    [
        ("unet16", 16, 5), ("unet-resnet18", 32, 5), ("fcn-resnet50", 8, 5), ("deeplabv3plus-mobilenet_v2", 16, 5),
        ("denseaspp-densenet121", 8, 5), ("pspnet-resnet18", 8, 3), ("segformer-mit_b0", 32, 4),
        ("lraspp-mobilenet_v3_large", 16, 5),
    ],
)  # fmt: skip
def test_output_stride_and_levels(name, stride, levels):
    """The output stride is the factor by which the encoder shrinks the image; the levels are those that can be frozen."""
    cost = cost_at_256(name)
    assert (cost.output_stride, cost.encoder_levels) == (stride, levels)


def test_trained_parameters_follow_the_freeze_policy():
    """With a frozen encoder, the head's parameters are trained; with part of it, more of them.

    A policy that does not fit is refused.
    """
    free, frozen, partly = (measure("unet-resnet18", 3, 64, policy) for policy in ("none", "encoder", "encoder:2"))
    assert free.trainable_parameters == free.total_parameters == free.encoder_parameters + free.head_parameters
    assert frozen.trainable_parameters == frozen.head_parameters
    assert frozen.trainable_parameters < partly.trainable_parameters < free.trainable_parameters
    with pytest.raises(UserError, match="has 5 levels"):
        measure("unet-resnet18", 3, 64, "encoder:6")


def test_a_size_that_does_not_fit_is_refused():
    """A size for which a model cannot be built is refused, as it is for a study."""
    with pytest.raises(UserError, match="multiple of 32"):
        measure("unet-resnet18", 3, 50)
