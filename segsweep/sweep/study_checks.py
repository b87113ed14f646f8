"""Checks of a study that need no data: missing user objects, names that cannot be built, numbers of seeds, too many processes."""

from collections.abc import Sequence

from segsweep.config.loss_text import user_losses
from segsweep.config.settings import Settings
from segsweep.config.stage_settings import batch_sizes
from segsweep.config.study import Study
from segsweep.config.user_objects import check_provided
from segsweep.config.user_text import PREFIX
from segsweep.errors import UserError
from segsweep.models.architectures import build_encoder, check_architecture, check_encoder, encoder_name
from segsweep.models.freeze import check_freeze_fits, check_levels_known
from segsweep.models.user_model import check_user_architecture
from segsweep.stage import check_stage
from segsweep.sweep.options import Options, flag
from segsweep.sweep.small_stem import stem_left_out
from segsweep.sweep.study_values import tuned_values
from segsweep.training.user_method import check_user_method

BY_LEVEL = {
    "encoder_lr_factor": 1.0,
    "layer_decay": 1.0,
    "unfreeze_every_epochs": None,
}  # setting by level -> value without effect


def check_user_objects(study: Study) -> None:
    """Raise `UserError` for an architecture, loss, method or dataset `own:NAME` that the study names but does not define."""
    for _, cell in study.cells():
        losses = tuned_values(study, "loss", cell.loss)
        texts = [cell.architecture, *(name for loss in losses for name in user_losses(loss))]
        methods = [stage.kind for stage in cell.chain.stages]
        datasets = [study.target_name, *(stage.dataset for stage in cell.chain.stages if stage.dataset is not None)]
        check_provided([*texts, *methods, *datasets], study.user_objects, study.name)


def check_names(study: Study) -> None:
    """Raise `UserError` for an architecture, size, freeze policy or stage that cannot be built. Reads no data."""
    cells = [settings for _, settings in study.cells()]
    models, encoders = _sizes_used(cells)
    for architecture, image_px in models:
        check_architecture(architecture, image_px)
    for architecture, image_px in dict.fromkeys((cell.architecture, cell.image_px) for cell in cells if _one_logit(study, cell)):
        if architecture.startswith(PREFIX):
            check_user_architecture(architecture, image_px, channels=1)
    for encoder, image_px in encoders:
        check_encoder(encoder, image_px)
    for architecture, policy, absent in dict.fromkeys(
        (cell.architecture, policy, stem_left_out(cell))
        for cell in cells
        for policy in tuned_values(study, "freeze", cell.freeze)
    ):
        check_freeze_fits(architecture, policy, absent)
    for architecture in dict.fromkeys(cell.architecture for cell in cells if _treats_levels_apart(study, cell)):
        check_levels_known(architecture)
    for cell in cells:
        for stage in cell.chain.stages:
            check_stage(stage, cell.architecture)
    for kind, encoder, image_px in dict.fromkeys(
        (stage.kind, encoder_name(cell.architecture), cell.source_px) for cell in cells for stage in cell.chain.stages
    ):
        if kind.startswith(PREFIX):
            check_user_method(kind, build_encoder(encoder, seed=0), image_px)


def _sizes_used(cells: Sequence[Settings]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return the (architecture, image size) and the (encoder, image size) pairs that are trained; sizes in pixels."""
    models = [(cell.architecture, cell.image_px) for cell in cells]
    encoders = []
    for cell in cells:
        for stage in cell.chain.stages:
            if stage.self_supervised:
                encoders.append((encoder_name(cell.architecture), cell.source_px))
            elif stage.supervised:
                models.append((cell.architecture, cell.source_px))
    return list(dict.fromkeys(models)), list(dict.fromkeys(encoders))


def _one_logit(study: Study, cell: Settings) -> bool:
    """Return whether some trial of a cell uses one logit for two classes."""
    return "sigmoid" in tuned_values(study, "output", cell.output)


def _treats_levels_apart(study: Study, cell: Settings) -> bool:
    """Return whether some trial of a cell trains the levels of its encoder differently."""
    return any(value != usual for axis, usual in BY_LEVEL.items() for value in tuned_values(study, axis, getattr(cell, axis)))


def check_source_seeds(study: Study) -> None:
    """Raise `UserError` if confirmed runs cannot use every model of a source equally often; scores are averaged by model."""
    trains = any(stage.trains for _, cell in study.cells() for stage in cell.chain.stages)
    models, seeds = study.source_seeds, study.seeds
    if trains and seeds % models:
        lower = seeds - seeds % models
        allowed = f"{lower} or {lower + models}" if lower else f"{models}"
        raise UserError(
            f"study {study.name}: seeds={seeds}: confirmed runs use the source_seeds={models} models of a source in turn, so "
            f"seeds must be a multiple of {models}; give seeds={allowed}, or source_seeds=1"
        )


def check_processes(study: Study, options: Options) -> None:
    """Raise `UserError` if more processes train one model than a batch has images."""
    for name, settings in study.cells():
        for setting, size in batch_sizes(settings).items():
            option = "workers_per_trial" if setting == "batch_size" else "workers_per_stage"
            if (workers := getattr(options, option)) > size:
                raise UserError(f"{flag(option)} {workers}: {setting}={size} of cell {name} leaves workers without images")
