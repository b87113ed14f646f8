"""Architectures that a study file brings as objects."""

import torch
from torch import nn

from segsweep.config.own import Architecture, own
from segsweep.errors import UserError
from segsweep.models.segmentation_model import Parts, SegmentationModel

REHEARSED_CLASSES = 2


def build_own(text: str, classes: int) -> SegmentationModel:
    """Return the model of a text `own:NAME`. Raises `UserError` where this process was not brought the object."""
    architecture: Architecture = own(text)
    stages = tuple(tuple(_without(architecture.encoder, name) for name in stage) for stage in architecture.stages)
    return SegmentationModel(architecture.build(classes), Parts(architecture.encoder, architecture.classifier, stages or None))


def _without(prefix: str, name: str) -> str:
    if not name.startswith(prefix):
        raise UserError(f"stages name {name!r}, which does not begin with the encoder's {prefix!r}")
    return name.removeprefix(prefix)


def check_own(text: str, image_px: int) -> None:
    """Raise `UserError` where an own architecture is not what it says: its parts, its sizes, its output."""
    architecture: Architecture = own(text)
    if image_px % architecture.stride_px:
        raise UserError(f"image_px={image_px}: {text} needs a multiple of {architecture.stride_px}")
    try:
        with torch.random.fork_rng(devices=[]):
            model = build_own(text, REHEARSED_CLASSES).eval()
            logits = model(torch.zeros(1, 3, image_px, image_px))
    except UserError as error:
        raise UserError(f"architecture {text!r}: {error}") from None
    except Exception as error:  # whatever a user's code raises
        raise UserError(f"architecture {text!r} cannot be built and run at {image_px} px: {error!r}") from None
    wanted = (1, REHEARSED_CLASSES, image_px, image_px)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != wanted:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(f"architecture {text!r}: gives {shape} for one picture of {image_px} px; must give logits {wanted}")
    _check_parts(text, architecture, model.network)


def _check_parts(text: str, architecture: Architecture, network: nn.Module) -> None:
    names = [name for name, _ in network.named_parameters()]
    for part in ("encoder", "classifier"):
        prefix = getattr(architecture, part)
        if not any(name.startswith(prefix) for name in names):
            tops = sorted({name.partition(".")[0] + "." for name in names})
            raise UserError(f"architecture {text!r}: {part}={prefix!r} names no parameter; they begin with {', '.join(tops)}")
    if not architecture.encoder.endswith(".") or architecture.encoder[:-1] not in dict(network.named_modules()):
        raise UserError(f"architecture {text!r}: encoder={architecture.encoder!r} must be a module's name and a dot")
    staged = [name for name in names if any(name.startswith(tuple(stage)) for stage in architecture.stages)]
    missing = [name for name in names if name.startswith(architecture.encoder) and name not in staged]
    if architecture.stages and missing:
        raise UserError(f"architecture {text!r}: {missing[0]} of its encoder lies in none of its stages")
