"""Settings: every choice that a trial can be told. Its fields are the axes that a study may compare, tune or fix."""

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from segsweep.config.source import Source
from segsweep.errors import UserError, unknown

DEFAULT_EPOCHS = 10
NO_TRANSFER = "none"  # what `transfer` becomes when the source is random: nothing moves


def _architecture(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*(-[A-Za-z0-9_.-]+)?", name):
        raise ValueError("must read DECODER or DECODER-ENCODER, for instance unet16 or unet-mobilenet_v2")
    return name


PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=100)]
SourceName = Annotated[str, AfterValidator(lambda text: str(Source.parse(text)))]
ArchitectureName = Annotated[str, AfterValidator(_architecture)]
Transfer = Literal["encoder", "all-but-classifier", "none"]
FreezePolicy = Literal["none", "encoder"]
LossName = Literal["cross_entropy", "dice"]
Optimizer = Literal["adam", "adamw"]


class Settings(BaseModel):
    """What one fine-tuning run is told, the seed aside.

    Lengths are in epochs or in optimiser steps, never both; with steps, `validations` equally spaced validations take
    the place of epochs. `source_*` settings are those of the supervised stages that the source names; where they are
    None the trial's own value holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: SourceName = "random"
    architecture: ArchitectureName = "unet16"
    transfer: Transfer = "encoder"
    freeze: FreezePolicy = "none"
    fraction: Share = 1.0
    learning_rate: Rate = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    optimizer: Optimizer = "adam"
    loss: LossName = "cross_entropy"
    augmentation: Literal["none", "flip"] = "flip"
    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    validations: PositiveInt = 10
    patience_epochs: PositiveInt | None = None
    batch_size: PositiveInt = 16
    image_px: Annotated[int, Field(ge=16, le=4096)] = 256
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    source_epochs: PositiveInt | None = None
    source_steps: PositiveInt | None = None
    source_learning_rate: Rate = 1e-3
    source_batch_size: PositiveInt | None = None

    @classmethod
    def build(cls, **values: Any) -> "Settings":
        """Return validated settings. Raises `UserError` with one line that names the field, the value and what is allowed."""
        for name in values:
            if name not in cls.model_fields:
                raise unknown("setting", name, list(cls.model_fields))
        try:
            return cls(**values)
        except ValidationError as error:
            raise _one_line(error) from None

    @classmethod
    def parse_value(cls, name: str, text: str) -> Any:
        """Return the value of one field from its text on a command line."""
        if name not in cls.model_fields:
            raise unknown("setting", name, list(cls.model_fields))
        field = cls.model_fields[name]
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        try:
            return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(None if text == "None" else text)
        except ValidationError as error:
            raise _one_line(error, name) from None

    @model_validator(mode="before")
    @classmethod
    def _canonical(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Give a length where none is given, and make equal what means the same."""
        values = dict(values)
        for name, value in values.items():
            if isinstance(value, bool):  # would pass for 0 or 1
                raise ValueError(f"{name}={value}: must be a number or a text")
        if values.get("epochs") is None and values.get("steps") is None:
            values["epochs"] = DEFAULT_EPOCHS
        if values.get("source_epochs") is None and values.get("source_steps") is None:
            values["source_epochs"] = values.get("epochs") or DEFAULT_EPOCHS
        source = values.get("source", "random")
        if isinstance(source, str):
            parsed = Source.parse(source)
            known = values.get("transfer", "encoder") in get_args(Transfer)  # else its own check refuses it
            if not parsed.stages and known:
                values["transfer"] = NO_TRANSFER
            elif parsed.encoder_only and values.get("transfer") == "all-but-classifier":
                values["transfer"] = "encoder"
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"epochs={self.epochs} and steps={self.steps}: give one of the two")
        if self.source_epochs is not None and self.source_steps is not None:
            raise ValueError(f"source_epochs={self.source_epochs} and source_steps={self.source_steps}: give one of the two")
        if self.transfer == NO_TRANSFER and self.source != "random":
            raise ValueError(f"transfer='none' with source={self.source!r}: allowed are encoder, all-but-classifier")
        if self.steps is not None and self.validations > self.steps:
            raise ValueError(f"validations={self.validations}: more than steps={self.steps}")
        return self

    @property
    def results(self) -> int:
        """How many results a full run yields: its epochs, or its validations where the length is in steps."""
        return self.epochs if self.epochs is not None else self.validations

    def source_settings(self) -> dict[str, Any]:
        """Return what a supervised stage is told, by the names that the training loop uses."""
        return {
            "image_px": self.image_px,
            "augmentation": self.augmentation,
            "optimizer": self.optimizer,
            "weight_decay": self.weight_decay,
            "loss": "cross_entropy",
            "learning_rate": self.source_learning_rate,
            "epochs": self.source_epochs,
            "steps": self.source_steps,
            "validations": min(self.validations, self.source_steps) if self.source_steps is not None else None,
            "batch_size": self.source_batch_size or self.batch_size,
            "precision": self.precision,
        }


def _one_line(error: ValidationError, field: str | None = None) -> UserError:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    name = field or ".".join(str(part) for part in first["loc"] if str(part) in Settings.model_fields)
    return UserError(f"{name}={first['input']!r}: {message}" if name else message)
