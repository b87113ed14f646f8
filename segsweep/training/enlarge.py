"""Logits at another size, a few rows at a time: 24 megapixels of 150 classes would take 14 GB at once."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import interpolate

BAND_VALUES = 2**24  # logits that are held at once: 64 MiB


def enlarged(logits_Chw: Tensor, height: int, width: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield logits (C, h, w), float32, at a height and width: rows, columns, and the logits (C, rows, columns) there.

    Bilinear, as `torch.nn.functional.interpolate` with `align_corners=False`, in bands of rows.
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
    """Return the class numbers (height, width) with the highest logits at that size."""
    predicted = torch.empty((height, width), dtype=torch.long, device=logits_Chw.device)
    for rows, columns, band in enlarged(logits_Chw, height, width):
        predicted[rows, columns] = band.argmax(dim=0)
    return predicted
