"""Checks of losses, sources and weight files against the listed data."""

from collections.abc import Sequence
from pathlib import Path

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import Study
from segsweep.errors import UserError
from segsweep.models.architectures import build_on_meta
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.class_maps import class_maps, stage_classes
from segsweep.sweep.study_values import tuned_values
from segsweep.training.losses import check_loss
from segsweep.training.weight_file import check_file


def check_sources(study: Study, catalog: Catalog) -> None:
    """Raise `UserError` for a class map, loss, source or weight file that does not fit the target.

    Datasets that a lenient catalog does not find are not checked.
    """
    maps, files, known = class_maps(study, catalog), set(), study.target_name not in catalog.absent
    classes = catalog.classes(study.target_name, study.target.classes)
    for _, settings in study.cells():
        for loss in tuned_values(study, "loss", settings.loss) if known else ():
            check_loss(loss, classes)
        for stage in settings.chain.stages:
            if stage.path is not None and known:
                files |= _file_uses(stage, settings, study, catalog)
            if stage.dataset is not None:
                _check_dataset(stage, stage.dataset, settings, study, catalog)
    for stage, architecture, scope in sorted(files, key=lambda use: (str(use[0]), *use[1:])):
        assert stage.path is not None
        model, mapped = build_on_meta(architecture, len(classes)), maps.get(str(stage)) if scope == "all" else None
        check_file(Path(stage.path).expanduser(), model, scope, stage.prefix, mapped)


def _check_dataset(stage: Stage, dataset: str, settings: Settings, study: Study, catalog: Catalog) -> None:
    """Raise `UserError` for a supervised stage on the target's own dataset, without masks, or with an unsuitable loss.

    A self-supervised stage may train on the target's dataset, because held-out images are removed from it.
    """
    if dataset in catalog.absent or stage.self_supervised:
        return
    if study.target_name not in catalog.absent and catalog.same(dataset, study.target_name):
        raise UserError(f"source {stage}: this is the target's own dataset; the stage would train on the target's test images")
    check_loss(settings.source_loss, catalog.classes(dataset, None))


def _file_uses(stage: Stage, settings: Settings, study: Study, catalog: Catalog) -> set[tuple[Stage, str, str]]:
    """Return the uses of a weight file in a cell, as (stage, architecture, transfer)."""
    _, *after = settings.chain.stages
    if after:
        scopes: Sequence[str] = ["encoder" if after[0].self_supervised else "all-but-classifier"]
    else:
        scopes = tuned_values(study, "transfer", settings.transfer)
    if "all" in scopes and study.target.class_map and stage_classes(stage, catalog) is None:
        raise UserError(f"transfer=all from {stage}: the file does not name its classes, so class_map cannot be applied")
    return {(stage, settings.architecture, scope) for scope in scopes}
