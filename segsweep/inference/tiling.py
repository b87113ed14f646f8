"""Application of a trained network to images of any size, resized and cropped as its training images were."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from torch import Tensor, nn

from segsweep.data.dataset import Fit, Pixels
from segsweep.data.image_files import resized, size_before_cut
from segsweep.training.device import Device
from segsweep.training.enlarge import enlarged

STRIDE_PX = 32  # sides of a network's input are multiples of this
TILE_PX, MARGIN_PX = 1024, 128  # longer sides are split into pieces, which the network sees with this margin


@dataclass(frozen=True)
class Prediction:
    """A network's prediction for one image: class numbers (H, W), and probabilities (C, H, W) with 255 for 1; both uint8."""

    mask_HW: Pixels
    probabilities_CHW: Pixels | None


@dataclass(frozen=True)
class _Piece:
    """A piece of a side: the network sees the interval `seen`, and its output is used in the interval `kept` within it."""

    kept: slice
    seen: slice


class Predictor:
    """A network with the resizing and tiling of images for it.

    Memory is bounded: sides beyond 1,280 px are split into overlapping pieces, and logits are resized to the image's size band by
    band, so 24 megapixels take a few GB even with 150 classes. A network that accepts only squares of `image_px`, such as a Swin
    transformer, sees the image in such squares.

    Args:
        network: Returns logits (B, C, H, W) for uint8 images (B, 3, H, W), as `segsweep.inference.deployed.Deployed` does.
        image_px: Side in pixels of the squares that the network was trained on.
        fit: How those squares were made. With `resize` and `nearest` the image is resized to such a square; with `crop` and
            `raw-crop` the network sees the whole image, at the scale at which its squares were cut.
        device: Device to compute on.
        precision: `bfloat16` for bfloat16 on a GPU; any other value means float32.
    """

    def __init__(self, network: nn.Module, *, image_px: int, fit: Fit, device: Device, precision: str = "float32") -> None:
        self._network = network.to(device.torch, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._image_px, self._fit, self._device = image_px, fit, device
        self._half = device.cuda and precision == "bfloat16"
        self._tile_px, self._margin_px, self._stride_px = max(TILE_PX, image_px), MARGIN_PX, 1
        if fit in ("crop", "raw-crop"):
            self._stride_px = STRIDE_PX
            if not self._takes_any_size():
                margin_px = image_px // 8
                self._tile_px, self._margin_px, self._stride_px = image_px - 2 * margin_px, margin_px, image_px

    @torch.inference_mode()
    def _takes_any_size(self) -> bool:
        side = _up_to_multiple(self._image_px, STRIDE_PX)
        try:
            self._run(np.zeros((side, side + STRIDE_PX, 3), dtype=np.uint8))
        except Exception:  # libraries raise different types for a wrong input size
            return False
        return True

    @torch.inference_mode()
    def predict(self, image_HWC: Pixels, probabilities: bool = False) -> Prediction:
        """Return the prediction for an image (H, W, 3), uint8, at the image's size."""
        mask_HW, shares_CHW = np.empty(image_HWC.shape[:2], dtype=np.uint8), None
        for rows, columns, logits in self._logits(image_HWC):
            mask_HW[rows, columns] = logits.argmax(dim=0).to(torch.uint8).cpu().numpy()
            if probabilities:
                if shares_CHW is None:
                    shares_CHW = np.empty((len(logits), *mask_HW.shape), dtype=np.uint8)
                shares_CHW[:, rows, columns] = (255 * logits.softmax(dim=0)).round().to(torch.uint8).cpu().numpy()
        return Prediction(mask_HW, shares_CHW)

    def _logits(self, image_HWC: Pixels) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield the logits of an image part by part: rows, columns, and the logits (C, rows, columns) there, float32."""
        height, width = image_HWC.shape[:2]
        size = size_before_cut(width, height, self._image_px, self._fit)
        parts = self._parts(np.asarray(resized(image_HWC, size, self._fit)))
        yield from parts if size == (width, height) else enlarged(_joined(parts, size), height, width)

    def _parts(self, image_HWC: Pixels) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield the logits of an image piece by piece, at the image's size."""
        height, width = image_HWC.shape[:2]
        for down, across in product(self._pieces(height), self._pieces(width)):
            logits = self._run(image_HWC[down.seen, across.seen])
            top, left = down.kept.start - down.seen.start, across.kept.start - across.seen.start
            rows, columns = (piece.kept.stop - piece.kept.start for piece in (down, across))
            yield down.kept, across.kept, logits[:, top : top + rows, left : left + columns]

    def _pieces(self, length: int) -> list[_Piece]:
        """Return the pieces of a side: one if the side is hardly longer than a piece, otherwise several equal ones."""
        margin = self._margin_px
        count = 1 if length <= self._tile_px + 2 * margin else -(-length // self._tile_px)
        edges = [length * index // count for index in range(count + 1)]
        return [
            _Piece(slice(start, end), slice(max(0, start - margin), min(length, end + margin))) for start, end in pairwise(edges)
        ]

    def _run(self, image_HWC: Pixels) -> Tensor:
        """Return the logits (C, H, W), float32, of an image, padded by reflection to a multiple of the network's stride."""
        height, width = image_HWC.shape[:2]
        padding = [(0, _up_to_multiple(side, self._stride_px) - side) for side in (height, width)]
        padded = np.pad(image_HWC, [*padding, (0, 0)], mode="reflect")
        images_BCHW = torch.from_numpy(padded).to(self._device.torch).permute(2, 0, 1)[None]
        with torch.autocast(self._device.torch.type, torch.bfloat16, enabled=self._half):
            logits_BCHW: Tensor = self._network(images_BCHW)
        return logits_BCHW[0, :, :height, :width].float()


def _up_to_multiple(length: int, of: int) -> int:
    return -(-length // of) * of


def _joined(parts: Iterable[tuple[slice, slice, Tensor]], size: tuple[int, int]) -> Tensor:
    """Return the parts of logits joined into one tensor (C, H, W), for a size (width, height)."""
    joined = None
    for rows, columns, logits in parts:
        if joined is None:
            joined = logits.new_empty(len(logits), size[1], size[0])
        joined[:, rows, columns] = logits
    assert joined is not None
    return joined
