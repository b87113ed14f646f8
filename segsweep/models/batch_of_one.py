"""Whether an architecture can be trained on a batch of one image."""

import torch

from segsweep.models.architectures import build_without_numbers
from segsweep.models.freeze import freeze

REFUSED = "more than 1 value per channel"  # torch's words for batch normalisation of a single number


def needs_two_images(architecture: str, image_px: int, policy: str = "none") -> bool:
    """Return whether batch normalisation would meet a single number per channel in a batch of one image of this size.

    So it is where features are pooled to one place, and at the deepest level of small images. What the freeze policy holds
    normalises by statistics instead. Costs no memory and no device.
    """
    model = build_without_numbers(architecture, classes=2)
    freeze(model, policy)
    model.train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(torch.empty(1, 3, image_px, image_px, device="meta"))
    except Exception as error:  # a few encoders need numbers; what else there is shows when they are checked
        return REFUSED in str(error)
    return False
