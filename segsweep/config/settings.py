"""Settings: every choice of a trial. Its fields are the axes that a study may compare, tune or fix."""

from typing import Annotated, Any, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError, model_validator

from segsweep.config.setting_fields import SettingFields
from segsweep.config.setting_rules import canonical, check_consistent, without_effect
from segsweep.errors import UserError, unknown

LISTED = "segsweep settings"  # the command that prints all settings


class Settings(SettingFields):
    """Settings of one fine-tuning run, except its seed.

    Lengths are in epochs or in optimiser steps, never both; with steps, `validations` equally spaced validations replace the
    epochs. Settings `source_*` belong to the supervised stages of the source, settings `ssl_*` to its self-supervised stages. The
    fields document their meaning and allowed values; `segsweep settings` prints them.
    """

    @classmethod
    def build(cls, **values: Any) -> "Settings":
        """Return validated settings. Raises `UserError` with one line that names the field, the value and the allowed values."""
        for name in values:
            if name not in cls.model_fields:
                raise unknown("setting", name, list(cls.model_fields), LISTED)
        try:
            return cls(**values)
        except ValidationError as error:
            raise _one_line(error) from None

    @classmethod
    def parse_value(cls, name: str, text: str) -> Any:
        """Return the value of one field, parsed from its text on a command line.

        Raises `UserError` for an unknown name or a value that the field does not allow.
        """
        if name not in cls.model_fields:
            raise unknown("setting", name, list(cls.model_fields), LISTED)
        field = cls.model_fields[name]
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        adapter = TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
        try:
            return adapter.validate_python(None if text == "None" else text)
        except ValidationError as error:
            if text.lower() == "none" and field.default is None:  # the text itself is not an allowed value
                return None
            raise _one_line(error, name) from None

    @model_validator(mode="before")
    @classmethod
    def _canonical(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values with a default length if none is given, and with one spelling for equivalent values."""
        return canonical(values)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_consistent(self)
        for name in without_effect(self):  # so that cells that differ only in these are one cell
            object.__setattr__(self, name, type(self).model_fields[name].default)
        return self


def _one_line(error: ValidationError, field: str | None = None) -> UserError:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    name = field or ".".join(str(part) for part in first["loc"] if str(part) in Settings.model_fields)
    value = repr(first["input"]) if isinstance(first["input"], str | int | float | None) else f"a {type(first['input']).__name__}"
    return UserError(f"{name}={value}: {message}" if name else message)
