"""Application of a network to images of any size."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from segsweep.config.setting_types import Fit
from segsweep.data.dataset import Pixels
from segsweep.inference import tiling
from segsweep.inference.tiling import Predictor
from segsweep.training import enlarge
from segsweep.training.device import Device

CPU = Device("cpu", 1)


class Local(nn.Module):
    """A network with a receptive field of five pixels; `sizes` collects the sizes of its inputs."""

    def __init__(self, only_px: int | None = None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 4, 7, padding=3))
        self.only_px = only_px
        self.sizes: list[tuple[int, int]] = []

    def forward(self, images_BCHW: Tensor) -> Tensor:
        height, width = images_BCHW.shape[2:]
        if self.only_px is not None:
            assert (height, width) == (self.only_px, self.only_px), "this network takes one size"
        self.sizes.append((height, width))
        logits: Tensor = self.layers(images_BCHW.float() / 255 - 0.5)
        return 20 * logits


def noise(height: int, width: int) -> Pixels:
    """Return an image of smooth noise."""
    coarse = np.random.default_rng(3).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def seen(network: nn.Module, image: Pixels) -> Tensor:
    """Return the logits (1, C, H, W) of a whole image."""
    with torch.inference_mode():
        logits: Tensor = network(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])
    return logits


def predicted(network: nn.Module, image: Pixels, fit: Fit, image_px: int = 32) -> tuple[Pixels, Pixels]:
    """Return the predictor's mask and probabilities, which have the image's size."""
    result = Predictor(network, image_px=image_px, fit=fit, device=CPU).predict(image, probabilities=True)
    assert result.probabilities_CHW is not None
    assert result.mask_HW.shape == result.probabilities_CHW.shape[1:] == image.shape[:2]
    return result.mask_HW, result.probabilities_CHW


def agrees(result: tuple[Pixels, Pixels], logits_BCHW: Tensor) -> None:
    """Compare mask and probabilities with logits of the same size; pixels with nearly equal logits may differ."""
    mask, probabilities = result
    best = logits_BCHW[0].topk(2, dim=0).values
    decided = ((best[0] - best[1]) > 1e-4).numpy()
    assert decided.mean() > 0.99
    assert (mask == logits_BCHW[0].argmax(dim=0).numpy())[decided].all()
    assert np.abs(probabilities - 255 * logits_BCHW[0].softmax(dim=0).numpy()).max() <= 0.51


@pytest.mark.parametrize("size", [(90, 50), (20, 33), (32, 32), (1, 70)])
@pytest.mark.parametrize(("fit", "method"), [("resize", Image.Resampling.BILINEAR), ("nearest", Image.Resampling.NEAREST)])
def test_a_resized_image_gets_its_size_back(size: tuple[int, int], fit: Fit, method: Image.Resampling) -> None:
    """With `resize` and `nearest` the network sees one square, and its logits are resized as by `interpolate`."""
    network, image = Local(), noise(*size)
    result = predicted(network, image, fit)
    assert network.sizes == [(32, 32)]
    square = np.asarray(Image.fromarray(image).resize((32, 32), method))
    agrees(result, interpolate(seen(network, square), size=size, mode="bilinear"))


def test_bands_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits that are resized a few rows at a time equal those that are resized at once."""
    network, image = Local(), noise(150, 70)
    at_once = predicted(network, image, "resize")
    monkeypatch.setattr(enlarge, "BAND_VALUES", 7 * 4 * 70)
    in_bands = predicted(network, image, "resize")
    assert (at_once[0] == in_bands[0]).all()
    assert (at_once[1] == in_bands[1]).all()


def test_a_cropping_network_sees_the_whole_image() -> None:
    """With `crop` the short side becomes `image_px`; edges are padded by reflection to a multiple of 32 and cut off again."""
    network, image = Local(), noise(60, 100)
    result = predicted(network, image, "crop")
    assert network.sizes[-1] == (32, 64)  # 32 x 53, with the wider side padded
    scaled = np.asarray(Image.fromarray(image).resize((53, 32), Image.Resampling.BILINEAR))
    mirrored = np.concatenate([scaled, scaled[:, -2:-13:-1]], axis=1)
    agrees(result, interpolate(seen(network, mirrored)[..., :53], size=(60, 100), mode="bilinear"))


def test_a_raw_cropping_network_sees_the_unchanged_image() -> None:
    """With `raw-crop` nothing is resized, except an image whose short side is below `image_px`."""
    network, image = Local(), noise(64, 96)
    agrees(predicted(network, image, "raw-crop"), seen(network, image))
    small = noise(16, 24)
    enlarged = np.asarray(Image.fromarray(small).resize((48, 32), Image.Resampling.BILINEAR))
    result = predicted(network, small, "raw-crop")
    padded = np.concatenate([enlarged, enlarged[:, -2:-18:-1]], axis=1)
    agrees(result, interpolate(seen(network, padded)[..., :48], size=(16, 24), mode="bilinear"))


@pytest.mark.parametrize("fit", ["crop", "raw-crop"])
def test_pieces_of_a_large_image_fit_together(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces give the result of the whole image if the receptive field is within their margins; none exceeds the limit."""
    network, image = Local(), noise(32, 500)
    whole = predicted(network, image, fit)
    monkeypatch.setattr(tiling, "TILE_PX", 64)
    monkeypatch.setattr(tiling, "MARGIN_PX", 8)
    network.sizes.clear()
    pieces = predicted(network, image, fit)
    assert len(network.sizes) > 8
    assert max(max(size) for size in network.sizes) <= 96  # 64 plus two margins, as a multiple of 32
    assert np.abs(whole[1].astype(int) - pieces[1]).max() <= 1
    assert (whole[0] == pieces[0]).mean() > 0.999


@pytest.mark.parametrize("fit", ["crop", "raw-crop"])
def test_a_network_with_a_fixed_size_sees_squares(fit: Fit) -> None:
    """A network that accepts only squares of one size sees those, and gives the usual result except at edges."""
    image = noise(64, 180)
    squares, free = predicted(Local(only_px=64), image, fit, 64), predicted(Local(), image, fit, 64)
    assert (squares[0] == free[0]).mean() > 0.99


def test_probabilities_are_optional() -> None:
    """Without `probabilities` there are none, and the mask is the same."""
    network, image = Local(), noise(40, 50)
    result = Predictor(network, image_px=32, fit="resize", device=CPU).predict(image)
    assert result.probabilities_CHW is None
    assert (result.mask_HW == predicted(network, image, "resize")[0]).all()
