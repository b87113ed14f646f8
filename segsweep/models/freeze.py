"""Freeze policies: which parameters and normalisation statistics stay as they are.

`none`; `encoder`; `encoder:K`, the first K levels of the encoder; `norm`, the normalisation layers that the transfer brought.

What the source was announced not to have stays trainable under every policy: a self-supervised stage with the stem for small
images gives an encoder without its stem, and a random stem that stays as it is would spoil all that lies behind it. So `encoder`
then trains the stem beside the decoder, and `encoder:1`, which would hold nothing, is refused.

What is frozen runs in eval mode (`frozen_norm` "eval"), as a layer of Keras with `trainable=False`: its normalisation statistics
are fixed. With "train" its parameters alone are fixed, as in a PyTorch script that only sets `requires_grad` to False: it
normalises by the statistics of each training batch, and its running ones, which validation and test use, move.
"""

from collections.abc import Collection, Sequence
from functools import partial

from timm.layers.norm import RmsNorm, RmsNorm2d
from torch import nn

from segsweep.errors import UserError, unknown
from segsweep.models.architectures import build_without_numbers
from segsweep.models.segmentation_model import SegmentationModel

FREEZE_POLICIES = ("none", "encoder", "encoder:K", "norm")
NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,  # what BatchNorm and InstanceNorm have in common
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    RmsNorm,
    RmsNorm2d,
)


def freeze(
    model: SegmentationModel,
    policy: str,
    transferred: Collection[str] | None = None,
    absent: Sequence[str] = (),
    *,
    frozen_norm: str = "eval",
) -> None:
    """Hold the parts of a model that a policy names.

    `transferred` are the names of the weights that a source brought, by which `norm` tells layers with statistics from new ones;
    None stands for all. `absent` are those that it was announced not to have, which are not held. `frozen_norm` is the mode,
    "eval" or "train", in which what is held runs while the model trains. Raises
    `UserError` for an unknown policy, and for one that the model has no such parts for.
    """
    kind, _, count = policy.partition(":")
    hold = partial(model.hold, train_mode=frozen_norm == "train")
    if kind == "encoder" and count.isdecimal():
        hold(_first_levels(model, int(count), absent))
    elif policy == "encoder":
        hold(_first_levels(model, len(model.encoder_levels), absent) if absent else (model.parts.encoder,))
    elif policy == "norm":
        transferred_modules = tuple(f"{name.rpartition('.')[0]}." for name in transferred) if transferred is not None else None
        hold(name for name in _normalisations(model) if transferred_modules is None or name in transferred_modules)
    elif policy != "none":
        raise unknown("freeze", policy, FREEZE_POLICIES)


def check_freeze_fits(architecture: str, policy: str, absent: Sequence[str] = ()) -> None:
    """Raise `UserError` where a policy does not fit an architecture; costs no memory and no device.

    `absent` is how the names of the encoder's weights begin that the source does not have.
    """
    model = build_without_numbers(architecture, classes=2)
    beginnings = tuple(model.parts.encoder + name for name in absent)
    try:
        freeze(model, policy, absent=[name for name in model.network.state_dict() if beginnings and name.startswith(beginnings)])
    except UserError as error:
        raise UserError(f"architecture {architecture!r}: {error}") from None


def check_levels_known(architecture: str) -> None:
    """Raise `UserError` for an architecture whose encoder's levels cannot be determined; costs no memory and no device."""
    try:
        _ = build_without_numbers(architecture, classes=2).encoder_levels
    except UserError as error:
        raise UserError(f"architecture {architecture!r}: {error}") from None


def _first_levels(model: SegmentationModel, count: int, absent: Sequence[str]) -> list[str]:
    levels = model.encoder_levels
    if not 1 <= count <= len(levels):
        raise UserError(f"freeze='encoder:{count}': the encoder has {len(levels)} levels; allowed are 1 to {len(levels)}")
    names = [name for level in levels[:count] for name in level]
    held = [name for name in names if not any(weight.startswith(name) for weight in absent)]
    if not held:
        raise UserError(
            f"freeze='encoder:{count}': the source has none of these levels ({', '.join(names)}), since it was trained with the "
            "stem for small images; take encoder:2 or more, or ssl_stem=usual"
        )
    return held


def _normalisations(model: SegmentationModel) -> list[str]:
    names = [f"{name}." for name, module in model.network.named_modules() if isinstance(module, NORMALISATIONS)]
    if not names:
        raise UserError("freeze='norm': the network has no normalisation layer; allowed are none, encoder, encoder:K")
    return names
