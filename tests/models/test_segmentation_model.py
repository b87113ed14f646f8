import pytest
import torch
from torch import nn

from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.models.segmentation_model import Parts, SegmentationModel
from segsweep.models.smp_models import DECODERS

ENCODERS = {"segformer": "mit_b0", "dpt": "tu-vit_tiny_patch16_224", "deeplabv3plus": "mobilenet_v2", "pspnet": "tu-resnet18"}
OF_SMP = [f"{decoder}-{ENCODERS.get(decoder, 'resnet18')}" for decoder in DECODERS]
OTHERS = ["unet16", "deeplabv3-mobilenet_v3_large", "lraspp-mobilenet_v3_large", "cutdenseaspp-densenet121"]


def images(name: str, px: int = 32) -> torch.Tensor:
    side = 4 * px if name.startswith("pan") else px  # pyramid attention halves a map three more times
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", [*OF_SMP, *OTHERS])
def test_decode_of_encode_is_the_networks_own_forward_pass(name):
    """In eval and in train mode, the logits equal those of the library's forward pass bit by bit, including dropout."""
    model, shown = build_model(name, 3, seed=0), images(name)
    for training in (False, True):
        model.train(training)
        found = []
        for run in (model, lambda x: model.decode(model.encode(x), tuple(x.shape[-2:])), model.network):
            torch.manual_seed(1)
            with torch.no_grad():
                found.append(run(shown))
        own = found[2]["out"] if isinstance(found[2], dict) else found[2]
        assert torch.equal(found[0], own)
        assert torch.equal(found[1], own)


@pytest.mark.parametrize("name", ["unet16", "dpt-tu-vit_tiny_patch16_224", "lraspp-mobilenet_v3_large"])
def test_decode_needs_only_the_features(name):
    """A model decodes the features of a second model: no information bypasses them, and no decoder weight is used to encode."""
    model, other, shown = (*(build_model(name, 2, seed=0).eval() for _ in range(2)), images(name))
    for parameter_name, parameter in model.network.named_parameters():
        if parameter_name.startswith(model.parts.encoder):
            parameter.data.zero_()
        else:
            other.network.get_parameter(parameter_name).data.zero_()
    with torch.no_grad():
        expected = build_model(name, 2, seed=0).eval()(shown)
        assert torch.equal(model.decode(other.encode(shown), tuple(shown.shape[-2:])), expected)


def test_a_size_that_a_network_of_smp_refuses_is_refused():
    """The split forward pass accepts the sizes that smp's forward pass accepts, and no others."""
    model = build_model("unetplusplus-resnet18", 2, seed=0)
    with pytest.raises(RuntimeError, match="Wrong input shape"):
        model.network(torch.zeros(2, 3, 64, 40))
    with pytest.raises(UserError, match="image of 40x64 pixels: unetplusplus-resnet18 needs multiples of 32"):
        model(torch.zeros(2, 3, 64, 40))


def test_a_network_without_decode_cannot_be_split():
    """Without `decode`, `can_split` is false, and the logits are the network's."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    model = SegmentationModel(network, Parts("0.", "1."))
    assert not model.can_split
    assert torch.equal(model(images("own")), network(images("own")))
    assert build_model("unet16", 2, seed=0).can_split
