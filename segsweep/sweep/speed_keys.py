"""The keys of the speeds that price stages, trials and scores."""

from segsweep.config.settings import Settings
from segsweep.config.work import StageSpec
from segsweep.sweep.small_stem import stem_left_out
from segsweep.training.speed_key import SpeedKey


def trial_key(kind: str, settings: Settings, classes: int) -> SpeedKey:
    """Return the key of a trial's speed on a kind of device, for a target with `classes` classes."""
    return SpeedKey(
        kind,
        settings.architecture,
        1 if settings.output == "sigmoid" else classes,
        settings.image_px,
        settings.batch_size,
        "none" if stem_left_out(settings) else settings.freeze,  # training the stem backpropagates through the encoder
        settings.precision,
        settings.augmentation,
        frozen_norm=settings.frozen_norm,
    )


def stage_key(kind: str, spec: StageSpec, classes: int) -> SpeedKey:
    """Return the key of a stage's speed on a kind of device, for a dataset with `classes` classes (0 if self-supervised)."""
    settings = spec.settings
    sizes = int(settings["image_px"]), int(settings["batch_size"])
    if spec.stage.self_supervised:
        is_small = settings.get("stem") == "small"
        return SpeedKey(kind, spec.model, 0, *sizes, spec.stage.kind, settings["precision"], small_stem=is_small)
    return SpeedKey(kind, spec.model, classes, *sizes, "none", settings["precision"], settings.get("augmentation") or "none")
