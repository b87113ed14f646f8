import pytest
import timm
import torch
import torchvision

from segsweep.errors import UserError
from segsweep.models.architectures import build_model
from segsweep.models.transfer import transfer_weights
from segsweep.models.weight_names import by_network_names


@pytest.mark.parametrize(
    ("architecture", "published"),
    [
        ("unet-resnet18", lambda: torchvision.models.resnet18(weights=None)),
        ("denseaspp-densenet121", lambda: torchvision.models.densenet121(weights=None)),
        ("lraspp-mobilenet_v3_large", lambda: torchvision.models.mobilenet_v3_large(weights=None)),
        ("unet-tu-resnet18", lambda: timm.create_model("resnet18", pretrained=False)),
    ],
)
def test_a_published_file_of_the_encoder_fills_the_encoder(architecture, published):
    """A file with the publisher's names provides every weight of the encoder; only its classifier is unused."""
    model, source = build_model(architecture, 2, seed=0), published()
    source = {name: tensor + 3 for name, tensor in source.state_dict().items() if not name.endswith("num_batches_tracked")}
    report = transfer_weights(model, by_network_names(model, source), "encoder")
    assert all(name.startswith(("fc.", "classifier.")) for name in report.unused)
    moved = sum(tensor.sum().item() for name, tensor in source.items() if name not in report.unused)
    encoder = model.encoder.state_dict()
    assert sum(t.sum().item() for n, t in encoder.items() if not n.endswith("num_batches_tracked")) == pytest.approx(moved)


def test_old_names_of_densenets_are_understood():
    """The names in torchvision's DenseNet files (`norm.1` for `norm1`) are mapped to those of the network's layers."""
    model, tensor = build_model("unet-densenet121", 2, seed=0), torch.full((64,), 7.0)
    named = by_network_names(model, {"features.denseblock1.denselayer1.norm.1.weight": tensor})
    assert named["encoder.features.denseblock1.denselayer1.norm1.weight"] is tensor


def test_a_file_with_the_networks_names_is_unchanged():
    """The file of a whole model is neither renamed nor completed: missing weights are refused."""
    model = build_model("unet-resnet18", 2, seed=0)
    weights = {name: t for name, t in model.network.state_dict().items() if not name.endswith("bn1.num_batches_tracked")}
    assert by_network_names(model, weights) == weights
    with pytest.raises(UserError, match=r"lacks encoder\.bn1\.num_batches_tracked"):
        transfer_weights(model, by_network_names(model, weights), "all")


def test_a_file_with_unknown_names_is_unchanged():
    """A file without any known name is passed on unchanged, and is refused for its missing names."""
    model = build_model("unet16", 2, seed=0)
    assert set(by_network_names(model, {"odd": torch.ones(1)})) == {"odd"}
