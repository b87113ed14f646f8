"""Rules between settings: derived lengths, contradictions, and settings without effect."""

from collections.abc import Mapping
from typing import Any, get_args

from segsweep.config.plain import plain
from segsweep.config.setting_fields import SettingFields
from segsweep.config.setting_types import Transfer, parsed_source
from segsweep.config.stage_settings import batch_sizes

DEFAULT_EPOCHS = 10
NO_TRANSFER = "none"  # the transfer of a random source, which has no weights to move
DECIDED_BY: Mapping[str, tuple[str, ...]] = {  # setting that may have no effect -> settings that decide this
    "momentum": ("optimizer",),
    "encoder_lr_factor": ("freeze", "unfreeze_every_epochs"),
    "layer_decay": ("freeze", "unfreeze_every_epochs"),
    "frozen_norm": ("freeze",),
}


def canonical(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of settings with a default length if none is given, and with one spelling for equivalent values."""
    values = {name: plain(value) for name, value in values.items()}
    for name, value in values.items():
        if isinstance(value, bool):  # pydantic would accept it as 0 or 1
            raise ValueError(f"{name}={value}: must be a number or a text")
    if values.get("epochs") is None and values.get("steps") is None:
        values["epochs"] = DEFAULT_EPOCHS
    if values.get("source_epochs") is None and values.get("source_steps") is None:
        values["source_epochs"] = values.get("epochs") or DEFAULT_EPOCHS
    if values.get("ssl_epochs") is None and values.get("ssl_steps") is None:
        values["ssl_epochs"] = values.get("source_epochs") or values.get("epochs") or DEFAULT_EPOCHS
    source = values.get("source", "random")
    if isinstance(source, str):
        parsed = parsed_source(source)
        known = values.get("transfer", "encoder") in get_args(Transfer)  # otherwise the check of the field refuses it
        if not parsed.stages and known:
            values["transfer"] = NO_TRANSFER
            if values.get("freeze") == "norm":  # there is no transferred layer to freeze
                values["freeze"] = "none"
        elif parsed.encoder_only and values.get("transfer") in ("all-but-classifier", "all"):
            values["transfer"] = "encoder"
    return values


def check_consistent(settings: SettingFields) -> None:
    """Raise `ValueError` for settings that contradict each other."""
    for prefix in ("", "source_", "ssl_"):
        epochs, steps = getattr(settings, f"{prefix}epochs"), getattr(settings, f"{prefix}steps")
        if epochs is not None and steps is not None:
            raise ValueError(f"{prefix}epochs={epochs} and {prefix}steps={steps}: give one of the two")
    if (size := batch_sizes(settings).get("ssl_batch_size", 2)) < 2:
        raise ValueError(f"ssl_batch_size={size}: a self-supervised stage compares the images of a batch; needs at least 2")
    if settings.transfer == NO_TRANSFER and settings.chain.last is not None:
        raise ValueError(f"transfer='none' with source={settings.source!r}: allowed are encoder, all-but-classifier, all")
    if settings.steps is not None and settings.validations > settings.steps:
        raise ValueError(f"validations={settings.validations}: must be at most steps={settings.steps}")
    if settings.unfreeze_every_epochs is not None and not settings.freeze.startswith("encoder"):
        every, freeze = settings.unfreeze_every_epochs, settings.freeze
        raise ValueError(f"unfreeze_every_epochs={every} with freeze={freeze!r}: needs freeze=encoder or encoder:K")
    if settings.augmented_copies and settings.augmentation == "none":
        raise ValueError(
            f"augmented_copies={settings.augmented_copies} with augmentation='none': the copies would equal the image; "
            "choose an augmentation"
        )
    _check_output(settings)


def _check_output(settings: SettingFields) -> None:
    """Raise `ValueError` for a single logit where the source's model with several classes is compared or mapped by class."""
    if settings.output == "sigmoid" and settings.transfer == "all":
        raise ValueError(
            "output='sigmoid' with transfer='all': one logit has no row per class to map; "
            "use transfer='encoder' or 'all-but-classifier', or output='softmax'"
        )
    if settings.output == "sigmoid" and settings.domain_shift == "on":
        raise ValueError("output='sigmoid' with domain_shift='on': the source's model has a logit per class; use 'softmax'")


def without_effect(settings: SettingFields) -> set[str]:
    """Return the names of the settings that have no effect in combination with the others."""
    idle = {"momentum"} if settings.optimizer in ("adam", "adamw") else set()
    if settings.freeze == "encoder" and settings.unfreeze_every_epochs is None:  # the encoder never trains
        idle |= {"encoder_lr_factor", "layer_decay"}
    if settings.freeze == "none":
        idle.add("frozen_norm")
    return idle
