import pytest
import torch
import torchvision
from segmentation_models_pytorch.encoders import get_encoder

from segsweep.models.dilated_densenet import LEVELS, DilatedDenseNet
from segsweep.models.encoder_levels import levels_by_features


@pytest.mark.parametrize(("name", "channels"), [("densenet121", 1024), ("densenet161", 2208)])
def test_loads_ordinary_weights_strictly(name, channels):
    """The names and shapes of the state are those of torchvision's DenseNet without its classifier; an eighth of the size."""
    ordinary = torchvision.models.get_model(name, weights=None).state_dict()
    network = DilatedDenseNet(name).eval()
    network.load_state_dict({key: t for key, t in ordinary.items() if not key.startswith("classifier.")}, strict=True)
    assert network.channels == channels
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 64, 96)).shape == (1, channels, 8, 12)


def test_features_equal_the_undilated_ones_up_to_the_second_transitions_pooling():
    """With the same weights all is equal up to the second transition's pooling, where the dilated one keeps the size."""
    ordinary = torchvision.models.densenet121(weights=None).eval()
    dilated = DilatedDenseNet("densenet121").eval()
    dilated.load_state_dict(ordinary.features.state_dict(prefix="features."))
    x = y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, module in ordinary.features.named_children():
            if name == "transition2":
                break
            x, y = module(x), dilated.features.get_submodule(name)(y)
        for name in ("norm", "relu", "conv"):
            x, y = (net.features.get_submodule(f"transition2.{name}")(z) for net, z in ((ordinary, x), (dilated, y)))
        assert torch.equal(x, y)
        pooled, kept = ordinary.features.transition2.pool(x), dilated.features.transition2.pool(y)
    assert kept.shape[-1] == 2 * pooled.shape[-1] == 8
    assert torch.equal(kept, y)


def test_dilation_sees_what_the_pooled_network_sees():
    """Block 3 samples at every second, block 4 at every fourth place, so that their receptive fields are the undilated ones'."""
    convolutions = {
        block: {module.dilation for module in getattr(DilatedDenseNet("densenet121").features, block).modules()
                if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3)}
        for block in ("denseblock1", "denseblock2", "denseblock3", "denseblock4")
    }  # fmt: skip
    assert convolutions == {"denseblock1": {(1, 1)}, "denseblock2": {(1, 1)}, "denseblock3": {(2, 2)}, "denseblock4": {(4, 4)}}


def test_levels_are_those_of_the_pooled_encoder():
    """The parameters of each level are those from which smp's undilated encoder computes its feature maps."""
    encoder = get_encoder("densenet121", weights=None)
    names = [name for name, _ in encoder.named_parameters()]
    read_off = levels_by_features(encoder)
    assert read_off is not None
    assert [{name for name in names if name.startswith(level)} for level in read_off] == [
        {name for name in names if name.startswith(level)} for level in LEVELS
    ]
