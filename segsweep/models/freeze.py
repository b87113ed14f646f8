"""Freeze policies: which parameters and normalisation statistics stay fixed in training.

`none`; `encoder`; `encoder:K`, the first K levels of the encoder; `norm`, the normalisation layers that the transfer loaded.

Weights that the source declares absent stay trainable under every policy. A self-supervised stage with the stem for small images
provides an encoder without its stem, and a frozen random stem would spoil the features of all layers after it. `encoder` then
trains the stem as well as the decoder, and `encoder:1`, which would freeze nothing, is refused.

Frozen layers run in eval mode (`frozen_norm` "eval"), like a Keras layer with `trainable=False`: their normalisation statistics
are fixed. With "train", only their parameters are fixed, as in a PyTorch script that only sets `requires_grad` to False: they
normalise by the statistics of each training batch, and their running statistics, which validation and test use, are updated.
"""

from collections.abc import Collection, Sequence
from functools import partial

from timm.layers.norm import RmsNorm, RmsNorm2d
from torch import nn

from segsweep.errors import UserError, unknown
from segsweep.models.architectures import build_on_meta
from segsweep.models.segmentation_model import SegmentationModel

FREEZE_POLICIES = ("none", "encoder", "encoder:K", "norm")
NORMALISATIONS = (
    nn.modules.batchnorm._NormBase,  # the base class of BatchNorm and InstanceNorm
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
    """Freeze the parts of a model that a policy names.

    Args:
        model: The model, which is changed.
        policy: One of `FREEZE_POLICIES`.
        transferred: Names of the weights that the source loaded, by which `norm` finds the transferred layers; None means all.
        absent: Names of weights that the source declares absent, which stay trainable.
        frozen_norm: The mode of frozen layers in training, "eval" or "train".

    Raises:
        UserError: The policy is unknown, or the model has no such parts.
    """
    kind, _, count = policy.partition(":")
    freeze_parts = partial(model.freeze_parts, train_mode=frozen_norm == "train")
    if kind == "encoder" and count.isdecimal():
        freeze_parts(_first_levels(model, int(count), absent))
    elif policy == "encoder":
        freeze_parts(_first_levels(model, len(model.encoder_levels), absent) if absent else (model.parts.encoder,))
    elif policy == "norm":
        transferred_modules = tuple(f"{name.rpartition('.')[0]}." for name in transferred) if transferred is not None else None
        freeze_parts(name for name in _normalisations(model) if transferred_modules is None or name in transferred_modules)
    elif policy != "none":
        raise unknown("freeze", policy, FREEZE_POLICIES)


def check_freeze_fits(architecture: str, policy: str, absent: Sequence[str] = ()) -> None:
    """Raise `UserError` if a policy does not fit an architecture. The model is built on the meta device.

    `absent` holds name prefixes, within the encoder, of the weights that the source lacks.
    """
    if policy == "none":
        return
    model = build_on_meta(architecture, classes=2)
    prefixes = tuple(model.parts.encoder + name for name in absent)
    try:
        freeze(model, policy, absent=[name for name in model.network.state_dict() if prefixes and name.startswith(prefixes)])
    except UserError as error:
        raise UserError(f"architecture {architecture!r}: {error}") from None


def check_levels_known(architecture: str) -> None:
    """Raise `UserError` if the levels of an architecture's encoder are unknown. The model is built on the meta device."""
    try:
        _ = build_on_meta(architecture, classes=2).encoder_levels
    except UserError as error:
        raise UserError(f"architecture {architecture!r}: {error}") from None


def _first_levels(model: SegmentationModel, count: int, absent: Sequence[str]) -> list[str]:
    levels = model.encoder_levels
    if not 1 <= count <= len(levels):
        raise UserError(f"freeze='encoder:{count}': the encoder has {len(levels)} levels; allowed are 1 to {len(levels)}")
    names = [name for level in levels[:count] for name in level]
    present = [name for name in names if not any(weight.startswith(name) for weight in absent)]
    if not present:
        raise UserError(
            f"freeze='encoder:{count}': the source has none of these levels ({', '.join(names)}), since it was trained with the "
            "stem for small images; use encoder:2 or more, or ssl_stem=usual"
        )
    return present


def _normalisations(model: SegmentationModel) -> list[str]:
    names = [f"{name}." for name, module in model.network.named_modules() if isinstance(module, NORMALISATIONS)]
    if not names:
        raise UserError("freeze='norm': the network has no normalisation layer; allowed are none, encoder, encoder:K")
    return names
