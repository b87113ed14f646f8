"""Facts of a set of images that a reader compares between datasets: their colours, and their share of foreground."""

import numpy as np
import numpy.typing as npt

from segsweep.config.class_name import is_background
from segsweep.data.prepared import Prepared

COLOURS = ("red", "green", "blue")


def image_facts(data: Prepared, members: npt.NDArray[np.int64], prefix: str) -> dict[str, float | None]:
    """Return facts of the images `members` (M,), as columns that begin with `prefix`.

    `red_mean`, `red_std` and so on are the mean and standard deviation of each colour over all pixels, in 0..1. `foreground` is
    the share of foreground; see `foreground_share`.
    """
    moments = zip(("mean", "std"), data.mean_std(members), strict=True)
    colours = {
        f"{prefix}{colour}_{what}": value for what, values in moments for colour, value in zip(COLOURS, values, strict=True)
    }
    return {**colours, f"{prefix}foreground": foreground_share(data, members)}


def foreground_share(data: Prepared, members: npt.NDArray[np.int64]) -> float | None:
    """Return the share of foreground in the pixels of the images `members` (M,), in 0..1, without ignored pixels.

    With two classes it is that of the class that the main metrics measure; otherwise of all classes except the background. None
    for images without masks, and for a dataset with more classes and no background.
    """
    background = [number for number, name in enumerate(data.classes) if is_background(name)]
    if len(data.classes) == 2:
        background = [1 - data.foreground]
    if not data.labelled or not background:
        return None
    pixels = data.class_pixels(members)
    return float(1 - pixels[background].sum() / max(pixels.sum(), 1))
