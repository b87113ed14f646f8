"""Whether an architecture can be trained on a batch of one image."""

import torch

from segsweep.models.architectures import build_on_meta
from segsweep.models.freeze import freeze

REFUSED = "more than 1 value per channel"  # part of torch's message when batch normalisation gets one value per channel


def needs_two_images(architecture: str, image_px: int, policy: str = "none") -> bool:
    """Return whether batch normalisation gets a single value per channel for a batch of one image of this size.

    This happens if features are pooled to one position, and at the deepest level of small images. Layers that the freeze policy
    freezes do not count: they normalise by running statistics. The check uses no memory for weights and no device.
    """
    model = build_on_meta(architecture, classes=2)
    freeze(model, policy)
    model.train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(torch.empty(1, 3, image_px, image_px, device="meta"))
    except Exception as error:  # a few encoders cannot run on the meta device; `check_architecture` reports other errors
        return REFUSED in str(error)
    return False
