"""Resizing of logits in bands of rows: all logits of 24 megapixels and 150 classes at once would need 14 GB."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import interpolate

BAND_VALUES = 2**24  # logits in memory at once: 64 MiB


def enlarged(logits_Chw: Tensor, height: int, width: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Resize logits (C, h, w), float32, to a height and width in pixels, and yield them in bands of rows.

    Each band is (rows, columns, logits): two slices of the result, and the logits (C, rows, columns), float32, in them. The
    interpolation is bilinear, as `torch.nn.functional.interpolate` with `align_corners=False`.
    """
    classes, short = logits_Chw.shape[:2]
    step = max(1, BAND_VALUES // (classes * width))
    for top in range(0, height, step):
        rows = torch.arange(top, min(top + step, height), device=logits_Chw.device)
        position = ((rows + 0.5) * (short / height) - 0.5).clamp(0, short - 1)
        above = position.long()
        below = (above + 1).clamp(max=short - 1)
        mixed = torch.lerp(logits_Chw[:, above], logits_Chw[:, below], (position - above)[:, None])
        band = interpolate(mixed[None], size=(len(rows), width), mode="bilinear", align_corners=False)[0]
        yield slice(top, top + len(rows)), slice(0, width), band


def predicted_at(logits_Chw: Tensor, height: int, width: int) -> Tensor:
    """Return the predicted class numbers, (height, width) int64: the arg-max of logits (C, h, w) resized to that size."""
    predicted = torch.empty((height, width), dtype=torch.long, device=logits_Chw.device)
    for rows, columns, band in enlarged(logits_Chw, height, width):
        predicted[rows, columns] = band.argmax(dim=0)
    return predicted
