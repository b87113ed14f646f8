"""Self-supervised methods that a study file declares as objects."""

import numpy as np
import torch
from torch import Tensor, nn

from segsweep.errors import UserError
from segsweep.training.batches import normalise
from segsweep.training.recipe import Length
from segsweep.training.self_supervised_method import Method, PretrainingRecipe, build_method
from segsweep.training.world import World

CHECKED_IMAGES = 4


def check_user_method(text: str, encoder: nn.Module, image_px: int) -> None:
    """Raise `UserError` if a user's method cannot be built for an encoder, or computes no loss of a small batch.

    The batch holds `CHECKED_IMAGES` black images (B, 3, image_px, image_px).
    """
    recipe = PretrainingRecipe(Length(1, None, None), image_px, 1e-3, CHECKED_IMAGES, "adam", 0.0, 0.0, 0.1, "float32")
    try:
        with torch.random.fork_rng(devices=[]):
            method = build_method(text, encoder, recipe, seed=0)
            _check_method(method, encoder)
            loss, share = _loss_of_small_batch(method, image_px)
    except UserError as error:
        raise UserError(f"self-supervised method {text!r}: {error}") from None
    except Exception as error:  # a user's code may raise anything
        raise UserError(f"self-supervised method {text!r} cannot be built and run at {image_px} px: {error!r}") from None
    if loss.dim() != 0 or share.dim() != 0 or not bool(loss.isfinite()) or not loss.requires_grad:
        raise UserError(f"self-supervised method {text!r}: loss must return a finite scalar with a gradient, and a scalar share")


def _check_method(method: object, encoder: nn.Module) -> None:
    """Raise `UserError` for an object that is not a method, or whose network lacks the encoder or some trained weights."""
    if not isinstance(method, Method):
        raise UserError(f"build returns {type(method).__name__}; must return a {Method.__module__}.{Method.__name__}")
    network = getattr(method, "network", None)
    if not isinstance(network, nn.ModuleDict) or "encoder" not in network or network["encoder"] is not encoder:
        raise UserError("network must be an nn.ModuleDict that holds the encoder as 'encoder'")
    if {id(each) for each in method.parameters()} != {id(each) for each in network.parameters()}:
        raise UserError("some weights are outside network; no checkpoint would hold them")


def _loss_of_small_batch(method: Method, image_px: int) -> tuple[Tensor, Tensor]:
    """Return the method's loss and share for a batch of black images. Raises `UserError` for views of another shape or dtype."""
    images = torch.zeros(CHECKED_IMAGES, 3, image_px, image_px, dtype=torch.uint8)
    views = method.views(images, CHECKED_IMAGES, np.arange(CHECKED_IMAGES), torch.Generator().manual_seed(0))
    if views.dtype != torch.uint8 or views.dim() != 4 or len(views) % CHECKED_IMAGES:
        raise UserError(
            f"views returns {views.dtype} {tuple(views.shape)}; must return uint8 (V * B, 3, H, W) with B = {CHECKED_IMAGES}"
        )
    return method.loss(method(normalise(views)).float(), CHECKED_IMAGES, World())
