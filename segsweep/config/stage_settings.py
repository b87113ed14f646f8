"""Settings of the stages of a source, derived from the settings of a trial."""

from typing import Any

from segsweep.config.setting_fields import SettingFields
from segsweep.config.source import Stage


def batch_sizes(settings: SettingFields) -> dict[str, int]:
    """Return the batch sizes of the trial and of the training stages of its source, by the names of their settings."""
    sizes = {"batch_size": settings.batch_size}
    if any(stage.supervised for stage in settings.chain.stages):
        sizes["source_batch_size"] = _supervised(settings)["batch_size"]
    if any(stage.self_supervised for stage in settings.chain.stages):
        sizes["ssl_batch_size"] = _self_supervised(settings)["batch_size"]
    return sizes


def stage_settings(settings: SettingFields, stage: Stage) -> dict[str, Any]:
    """Return the settings of a stage of the source; empty for a stage that does not train."""
    if stage.self_supervised:
        return _self_supervised(settings)
    return _supervised(settings) if stage.supervised else {}


def _self_supervised(settings: SettingFields) -> dict[str, Any]:
    """Return the settings of a self-supervised stage; those in `_changed` only if they differ from their defaults."""
    steps = settings.ssl_steps
    return {
        **_changed(settings, split="source_split", normalisation="normalisation", gradient_clip_norm="ssl_gradient_clip_norm"),
        "image_px": settings.source_px,
        "learning_rate": settings.ssl_learning_rate,
        "optimizer": settings.ssl_optimizer,
        "weight_decay": settings.ssl_weight_decay,
        "warmup": settings.ssl_warmup,
        "temperature": settings.ssl_temperature,
        "epochs": settings.ssl_epochs,
        "steps": steps,
        "validations": min(settings.validations, steps) if steps is not None else None,
        "batch_size": settings.ssl_batch_size or settings.source_batch_size or settings.batch_size,
        "precision": settings.precision,
    }


def _supervised(settings: SettingFields) -> dict[str, Any]:
    """Return the settings of a supervised stage, without those shared settings that have their default value.

    A new setting therefore does not change the identity of stages that do not use it.
    """
    values = {
        "image_px": settings.source_px,
        "augmentation": settings.source_augmentation or settings.augmentation,
        "optimizer": settings.optimizer,
        "weight_decay": settings.weight_decay,
        "loss": settings.source_loss,
        "learning_rate": settings.source_learning_rate,
        "epochs": settings.source_epochs,
        "steps": settings.source_steps,
        "validations": min(settings.validations, settings.source_steps) if settings.source_steps is not None else None,
        "batch_size": settings.source_batch_size or settings.batch_size,
        "precision": settings.precision,
    }
    shared = ("momentum", "gradient_clip_norm", "schedule", "warmup", "normalisation", "keep")
    return values | _changed(settings, split="source_split") | _changed(settings, **{name: name for name in shared})


def _changed(settings: SettingFields, **names: str) -> dict[str, Any]:
    """Return those of some settings that differ from their defaults, under the given new names."""
    fields = type(settings).model_fields
    return {name: value for name, of in names.items() if (value := getattr(settings, of)) != fields[of].default}
