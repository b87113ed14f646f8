import pytest
import segmentation_models_pytorch as smp
import torch

from segsweep.errors import UserError
from segsweep.models.published import imagenet_encoder


def test_plain_encoder_has_no_published_weights():
    """A plain U-Net cannot start from ImageNet, and the error says what can."""
    with pytest.raises(UserError, match="unet16 has no published weights; use an architecture DECODER-ENCODER"):
        imagenet_encoder("unet16")


@pytest.mark.parametrize("reason", ["cannot reach the hub\nlong advice", ""])
def test_failed_download_is_one_line(monkeypatch, reason):
    """Whatever a hub raises becomes one line that names the encoder, the reason and the way out."""

    def refuse(name, weights):
        assert (name, weights) == ("resnet18", "imagenet")
        raise RuntimeError(reason)

    monkeypatch.setattr(smp.encoders, "get_encoder", refuse)
    with pytest.raises(UserError) as caught:
        imagenet_encoder("resnet18")
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in ("resnet18", reason.partition("\n")[0] or "RuntimeError", "file:PATH"))


def test_encoder_without_imagenet_names_what_is_published():
    """An encoder published on another data set alone is refused with the names of its weights."""
    lacking = {name: entry for name, entry in smp.encoders.encoders.items() if "imagenet" not in entry["pretrained_settings"]}
    assert lacking
    name, entry = next(iter(lacking.items()))
    with pytest.raises(UserError, match=f"published: {next(iter(entry['pretrained_settings']))}"):
        imagenet_encoder(name)


def test_weights_come_by_the_encoders_own_names_with_their_origin(monkeypatch):
    """The published weights are the encoder's own state, with the place that they come from."""
    encoder = smp.encoders.get_encoder("resnet18", weights=None)
    monkeypatch.setattr(smp.encoders, "get_encoder", lambda name, weights: encoder)  # noqa: ARG005
    weights, facts = imagenet_encoder("resnet18")
    assert all(torch.equal(tensor, encoder.state_dict()[name]) for name, tensor in weights.items())
    assert set(weights) == set(encoder.state_dict())
    assert facts["dataset"] == "imagenet"
    assert "resnet18" in facts["repo_id"]
