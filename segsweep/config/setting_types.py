"""The types of settings, which define the values that each allows."""

import re
from functools import cache
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from segsweep.config.loss_text import canonical_loss
from segsweep.config.source import Source
from segsweep.config.user_text import USER_TEXT

LARGEST_PX = 4096


def _architecture(name: str) -> str:
    if not re.fullmatch(rf"[a-z][a-z0-9_]*(-[A-Za-z0-9_.-]+)?|{USER_TEXT.pattern}", name):
        raise ValueError("must be DECODER or DECODER-ENCODER, for instance unet16 or unet-mobilenet_v2")
    return name


def _freeze(policy: str) -> str:
    if not re.fullmatch(r"none|encoder|norm|encoder:[1-9][0-9]*", policy):
        raise ValueError("allowed are 'none', 'encoder', 'encoder:K' (its first K levels) and 'norm'")
    return policy


@cache
def parsed_source(source: str) -> Source:
    """Return the source that a text names. A process parses each text once; all settings with this text share the object."""
    return Source.parse(source)


PositiveInt = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=16, le=LARGEST_PX)]
Share = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=100)]
SourceName = Annotated[str, AfterValidator(lambda text: str(parsed_source(text)))]
ArchitectureName = Annotated[str, AfterValidator(_architecture)]
Transfer = Literal["encoder", "all-but-classifier", "all", "none"]
FreezePolicy = Annotated[str, AfterValidator(_freeze)]
LossText = Annotated[str, AfterValidator(canonical_loss)]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
Schedule = Literal["constant", "poly", "cosine", "one_cycle"]
Augmentation = Literal["none", "flip", "crop_flip_jitter", "rotate_flip_jitter_blur"]
Fit = Literal["resize", "nearest", "crop", "raw-crop"]  # see `segsweep.data.image_files.square`
FitChoice = Literal["own", Fit]
