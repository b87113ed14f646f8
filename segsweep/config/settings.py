"""Settings: every choice that a trial can be told. Its fields are the axes that a study may compare, tune or fix."""

import re
from functools import cache
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from segsweep.config.keep import Keep
from segsweep.config.loss_text import canonical_loss
from segsweep.config.plain import plain
from segsweep.config.source import Source, Stage
from segsweep.config.user_objects import NAME_PATTERN, PREFIX
from segsweep.errors import UserError, unknown

DEFAULT_EPOCHS = 10
DEFAULT_KEEP: Keep = "val_iou"
LARGEST_PX = 4096
LISTED = "segsweep settings"  # the command that prints them all
DECIDED_BY = {  # settings that are dropped where they have no effect, and those that decide whether they have one
    "momentum": ("optimizer",),
    "encoder_lr_factor": ("freeze", "unfreeze_every_epochs"),
    "layer_decay": ("freeze", "unfreeze_every_epochs"),
    "frozen_norm": ("freeze",),
}
NO_TRANSFER = "none"  # what `transfer` becomes when the source is random: nothing moves


def _architecture(name: str) -> str:
    if not re.fullmatch(rf"[a-z][a-z0-9_]*(-[A-Za-z0-9_.-]+)?|{PREFIX}{NAME_PATTERN}(\.v[0-9]+)?", name):
        raise ValueError("must read DECODER or DECODER-ENCODER, for instance unet16 or unet-mobilenet_v2")
    return name


def _freeze(policy: str) -> str:
    if not re.fullmatch(r"none|encoder|norm|encoder:[1-9][0-9]*", policy):
        raise ValueError("allowed are 'none', 'encoder', 'encoder:K' (its first K stages) and 'norm'")
    return policy


@cache
def _parsed(source: str) -> Source:
    """Return the source that a text names. Every process parses a text once, and all settings with it share the object."""
    return Source.parse(source)


PositiveInt = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=16, le=LARGEST_PX)]
Share = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=100)]
SourceName = Annotated[str, AfterValidator(lambda text: str(_parsed(text)))]
ArchitectureName = Annotated[str, AfterValidator(_architecture)]
Transfer = Literal["encoder", "all-but-classifier", "all", "none"]
FreezePolicy = Annotated[str, AfterValidator(_freeze)]
LossText = Annotated[str, AfterValidator(canonical_loss)]
Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
Schedule = Literal["constant", "poly", "cosine", "one_cycle"]
Augmentation = Literal["none", "flip", "crop_flip_jitter", "rotate_flip_jitter_blur"]
Fit = Literal["resize", "nearest", "crop", "raw-crop"]  # how a picture becomes square; see `segsweep.data.picture.square`
FitChoice = Literal["own", Fit]  # or as the data set has it


class Settings(BaseModel):
    """What one fine-tuning run is told, the seed aside.

    Lengths are in epochs or in optimiser steps, never both; with steps, `validations` equally spaced validations take
    the place of epochs. `source_*` settings are those of the supervised stages that the source names, `ssl_*` those of its
    self-supervised ones; where they are None the supervised stages', or the trial's own value holds. What each setting means
    stands in the README's table of settings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: SourceName = "random"
    architecture: ArchitectureName = "unet16"
    transfer: Transfer = "encoder"
    freeze: FreezePolicy = "none"
    frozen_norm: Literal["eval", "train"] = "eval"
    unfreeze_every_epochs: PositiveInt | None = None
    fraction: Share = 1.0
    dev_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    fold: PositiveInt | None = None
    learning_rate: Rate = 1e-3
    encoder_lr_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    layer_decay: Share = 1.0
    schedule: Schedule = "constant"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    optimizer: Optimizer = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    gradient_clip_norm: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    loss: LossText = "cross_entropy"
    output: Literal["softmax", "sigmoid"] = "softmax"
    augmentation: Augmentation = "flip"
    augmented_copies: Annotated[int, Field(ge=0, le=16)] = 0
    normalisation: Literal["source", "imagenet", "own"] = "source"
    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    validations: PositiveInt = 10
    patience_epochs: PositiveInt | None = None
    keep: Keep = DEFAULT_KEEP
    batch_size: PositiveInt = 16
    image_px: Pixels = 256
    fit: FitChoice = "own"
    test_size: Literal["image_px", "original"] = "image_px"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    source_epochs: PositiveInt | None = None
    source_steps: PositiveInt | None = None
    source_learning_rate: Rate = 1e-3
    source_batch_size: PositiveInt | None = None
    source_loss: LossText = "cross_entropy"
    source_augmentation: Augmentation | None = None
    source_fit: FitChoice = "own"
    source_split: Literal["official", "all"] = "official"
    source_image_px: Pixels | None = None
    ssl_epochs: PositiveInt | None = None
    ssl_steps: PositiveInt | None = None
    ssl_learning_rate: Rate = 1e-3
    ssl_batch_size: PositiveInt | None = None
    ssl_optimizer: Literal["adam", "lars"] = "adam"
    ssl_weight_decay: Annotated[float, Field(ge=0)] = 1e-6
    ssl_gradient_clip_norm: Annotated[float, Field(gt=0)] | None = None
    ssl_warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    ssl_stem: Literal["auto", "usual"] = "auto"
    ssl_temperature: Annotated[float, Field(gt=0, le=10)] = 0.1
    domain_shift: Literal["off", "on"] = "off"
    clip_images: Annotated[int, Field(ge=0, le=16)] = 0

    @classmethod
    def build(cls, **values: Any) -> "Settings":
        """Return validated settings. Raises `UserError` with one line that names the field, the value and what is allowed."""
        for name in values:
            if name not in cls.model_fields:
                raise unknown("setting", name, list(cls.model_fields), LISTED)
        try:
            return cls(**values)
        except ValidationError as error:
            raise _one_line(error) from None

    @classmethod
    def parse_value(cls, name: str, text: str) -> Any:
        """Return the value of one field from its text on a command line."""
        if name not in cls.model_fields:
            raise unknown("setting", name, list(cls.model_fields), LISTED)
        field = cls.model_fields[name]
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        adapter = TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
        try:
            return adapter.validate_python(None if text == "None" else text)
        except ValidationError as error:
            if text.lower() == "none" and field.default is None:  # unless the text itself is a value
                return None
            raise _one_line(error, name) from None

    @model_validator(mode="before")
    @classmethod
    def _canonical(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Give a length where none is given, and make equal what means the same."""
        values = {name: plain(value) for name, value in values.items()}
        for name, value in values.items():
            if isinstance(value, bool):  # would pass for 0 or 1
                raise ValueError(f"{name}={value}: must be a number or a text")
        if values.get("epochs") is None and values.get("steps") is None:
            values["epochs"] = DEFAULT_EPOCHS
        if values.get("source_epochs") is None and values.get("source_steps") is None:
            values["source_epochs"] = values.get("epochs") or DEFAULT_EPOCHS
        if values.get("ssl_epochs") is None and values.get("ssl_steps") is None:
            values["ssl_epochs"] = values.get("source_epochs") or values.get("epochs") or DEFAULT_EPOCHS
        source = values.get("source", "random")
        if isinstance(source, str):
            parsed = _parsed(source)
            known = values.get("transfer", "encoder") in get_args(Transfer)  # else its own check refuses it
            if not parsed.stages and known:
                values["transfer"] = NO_TRANSFER
                if values.get("freeze") == "norm":  # there is no transferred layer to freeze
                    values["freeze"] = "none"
            elif parsed.encoder_only and values.get("transfer") in ("all-but-classifier", "all"):
                values["transfer"] = "encoder"
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for prefix in ("", "source_", "ssl_"):
            epochs, steps = getattr(self, f"{prefix}epochs"), getattr(self, f"{prefix}steps")
            if epochs is not None and steps is not None:
                raise ValueError(f"{prefix}epochs={epochs} and {prefix}steps={steps}: give one of the two")
        if (size := self.batch_sizes().get("ssl_batch_size", 2)) < 2:
            raise ValueError(f"ssl_batch_size={size}: a self-supervised stage tells pictures of a batch apart; needs at least 2")
        if self.transfer == NO_TRANSFER and self.chain.last is not None:
            raise ValueError(f"transfer='none' with source={self.source!r}: allowed are encoder, all-but-classifier, all")
        if self.steps is not None and self.validations > self.steps:
            raise ValueError(f"validations={self.validations}: more than steps={self.steps}")
        if self.unfreeze_every_epochs is not None and not self.freeze.startswith("encoder"):
            raise ValueError(
                f"unfreeze_every_epochs={self.unfreeze_every_epochs} with freeze={self.freeze!r}: goes with encoder or encoder:K"
            )
        if self.augmented_copies and self.augmentation == "none":
            raise ValueError(f"augmented_copies={self.augmented_copies} with augmentation='none': the copies would be no others")
        self._check_output()
        self._drop_what_changes_nothing()
        return self

    def _check_output(self) -> None:
        """Refuse a single logit where a source's model of several classes is compared or mapped class by class."""
        if self.output == "sigmoid" and self.transfer == "all":
            raise ValueError(
                "output='sigmoid' with transfer='all': one logit has no row per class to map; "
                "take transfer encoder or all-but-classifier, or output='softmax'"
            )
        if self.output == "sigmoid" and self.domain_shift == "on":
            raise ValueError("output='sigmoid' with domain_shift='on': the source's model has a logit per class; take 'softmax'")

    def _drop_what_changes_nothing(self) -> None:
        """Give settings without effect their default, so that they make no other cell."""
        idle = {"momentum"} if self.optimizer in ("adam", "adamw") else set()
        if self.freeze == "encoder" and self.unfreeze_every_epochs is None:  # an encoder that never moves
            idle |= {"encoder_lr_factor", "layer_decay"}
        if self.freeze == "none":
            idle.add("frozen_norm")
        for name in idle:
            object.__setattr__(self, name, self._default(name))

    @property
    def chain(self) -> Source:
        """The source as an object: the chain of stages that gives the initial weights."""
        return _parsed(self.source)

    @property
    def results(self) -> int:
        """How many results a full run yields: its epochs, or its validations where the length is in steps."""
        return self.epochs if self.epochs is not None else self.validations

    @property
    def source_px(self) -> int:
        """The size of the pictures that the stages of the source see."""
        return self.source_image_px or self.image_px

    def batch_sizes(self) -> dict[str, int]:
        """Return the sizes of the batches that training needs, the trial's own and those of its source, by their settings."""
        sizes = {"batch_size": self.batch_size}
        if any(stage.supervised for stage in self.chain.stages):
            sizes["source_batch_size"] = self.source_settings()["batch_size"]
        if any(stage.self_supervised for stage in self.chain.stages):
            sizes["ssl_batch_size"] = self.ssl_settings()["batch_size"]
        return sizes

    def stage_settings(self, stage: Stage) -> dict[str, Any]:
        """Return the settings of a stage of the source: none for one that does not train."""
        if stage.self_supervised:
            return self.ssl_settings()
        return self.source_settings() if stage.supervised else {}

    def ssl_settings(self) -> dict[str, Any]:
        """Return what a self-supervised stage is told."""
        steps = self.ssl_steps
        split = {"split": self.source_split} if self.source_split != self._default("source_split") else {}
        own = {"normalisation": self.normalisation} if self.normalisation != self._default("normalisation") else {}
        clip = {"gradient_clip_norm": self.ssl_gradient_clip_norm} if self.ssl_gradient_clip_norm is not None else {}
        return (
            split
            | own
            | clip
            | {
                "image_px": self.source_px,
                "learning_rate": self.ssl_learning_rate,
                "optimizer": self.ssl_optimizer,
                "weight_decay": self.ssl_weight_decay,
                "warmup": self.ssl_warmup,
                "temperature": self.ssl_temperature,
                "epochs": self.ssl_epochs,
                "steps": steps,
                "validations": min(self.validations, steps) if steps is not None else None,
                "batch_size": self.ssl_batch_size or self.source_batch_size or self.batch_size,
                "precision": self.precision,
            }
        )

    def source_settings(self) -> dict[str, Any]:
        """Return what a supervised stage is told, by the names of settings; those at their default are left out.

        So a new setting changes the identity of no stage that does not use it.
        """
        told = {
            "image_px": self.source_px,
            "augmentation": self.source_augmentation or self.augmentation,
            "optimizer": self.optimizer,
            "weight_decay": self.weight_decay,
            "loss": self.source_loss,
            "learning_rate": self.source_learning_rate,
            "epochs": self.source_epochs,
            "steps": self.source_steps,
            "validations": min(self.validations, self.source_steps) if self.source_steps is not None else None,
            "batch_size": self.source_batch_size or self.batch_size,
            "precision": self.precision,
        }
        shared = ("momentum", "gradient_clip_norm", "schedule", "warmup", "normalisation", "keep")
        split = {"split": self.source_split} if self.source_split != self._default("source_split") else {}
        return told | split | {name: getattr(self, name) for name in shared if getattr(self, name) != self._default(name)}

    @classmethod
    def _default(cls, name: str) -> Any:
        return cls.model_fields[name].default


def _one_line(error: ValidationError, field: str | None = None) -> UserError:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    name = field or ".".join(str(part) for part in first["loc"] if str(part) in Settings.model_fields)
    value = repr(first["input"]) if isinstance(first["input"], str | int | float | None) else f"a {type(first['input']).__name__}"
    return UserError(f"{name}={value}: {message}" if name else message)
