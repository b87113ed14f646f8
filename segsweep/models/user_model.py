"""Architectures that a study file declares as objects."""

import torch
from torch import nn

from segsweep.config.user_objects import Architecture, user_object
from segsweep.errors import UserError
from segsweep.models.segmentation_model import Parts, SegmentationModel

CHECKED_CLASSES = 2


def build_user_network(text: str, channels: int) -> tuple[nn.Module, Parts]:
    """Return the network of the architecture `own:NAME` with `channels` output channels, and its parts.

    Raises `UserError` if this process does not have the object.
    """
    architecture: Architecture = user_object(text)
    network = architecture.build(channels)
    levels = tuple(tuple(_part(network, architecture.encoder, name) for name in level) for level in architecture.levels)
    return network, Parts(architecture.encoder, architecture.classifier, levels or None)


def _part(network: nn.Module, encoder: str, name: str) -> str:
    """Return the name of a module, with a dot at its end, or of a parameter, without the prefix of the encoder."""
    if not name.startswith(encoder):
        raise UserError(f"levels name {name!r}, which does not begin with the encoder's {encoder!r}")
    if name.rstrip(".") in dict(network.named_modules()):
        return f"{name.rstrip('.')}.".removeprefix(encoder)
    if name in dict(network.named_parameters()):
        return name.removeprefix(encoder)
    raise UserError(f"levels name {name!r}, which is neither a module nor a parameter of the network")


def check_user_architecture(text: str, image_px: int, channels: int = CHECKED_CLASSES) -> None:
    """Raise `UserError` unless a user's architecture has the declared parts and maps one image to logits (1, channels, H, W).

    The network is built on the CPU and run on an image (1, 3, image_px, image_px).
    """
    architecture: Architecture = user_object(text)
    if image_px % architecture.stride_px:
        raise UserError(f"image_px={image_px}: {text} needs a multiple of {architecture.stride_px}")
    try:
        with torch.random.fork_rng(devices=[]):
            model = SegmentationModel(*build_user_network(text, channels)).eval()
            logits = model(torch.zeros(1, 3, image_px, image_px))
    except UserError as error:
        raise UserError(f"architecture {text!r}: {error}") from None
    except Exception as error:  # a user's code may raise anything
        raise UserError(f"architecture {text!r} cannot be built and run at {image_px} px: {error!r}") from None
    wanted = (1, channels, image_px, image_px)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != wanted:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(f"architecture {text!r}: returns {shape} for one image of {image_px} px; must return logits {wanted}")
    _check_parts(text, architecture, model.network)


def _check_parts(text: str, architecture: Architecture, network: nn.Module) -> None:
    names = [name for name, _ in network.named_parameters()]
    for part in ("encoder", "classifier"):
        prefix = getattr(architecture, part)
        if not any(name.startswith(prefix) for name in names):
            tops = sorted({name.partition(".")[0] + "." for name in names})
            raise UserError(f"architecture {text!r}: {part}={prefix!r} names no parameter; names begin with {', '.join(tops)}")
    if not architecture.encoder.endswith(".") or architecture.encoder[:-1] not in dict(network.named_modules()):
        raise UserError(f"architecture {text!r}: encoder={architecture.encoder!r} must be a module's name and a dot")
    for name in names if architecture.levels else ():
        found = [level for level in architecture.levels if any(_covers(part, name) for part in level)]
        if name.startswith(architecture.encoder) and len(found) != 1:
            raise UserError(f"architecture {text!r}: {name} of its encoder lies in {len(found)} of its levels; must be one")


def _covers(part: str, name: str) -> bool:
    return name == part or name.startswith(f"{part.rstrip('.')}.")
