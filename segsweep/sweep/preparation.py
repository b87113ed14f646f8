"""Preparing the data of a study, and checking what fits together before anything is trained."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import Study
from segsweep.data.mask_checks import check_masks, check_split_masks
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source, subset
from segsweep.errors import UserError
from segsweep.models.architectures import build_without_numbers
from segsweep.sweep.catalog import Catalog, fractions, split_choices, target_split, tuned_values
from segsweep.sweep.class_maps import class_maps, stage_classes
from segsweep.sweep.preflight import check_source_size
from segsweep.training.losses import check_loss
from segsweep.training.weight_file import check_file


def prepare_all(study: Study, catalog: Catalog) -> None:
    """Prepare every data set of a study and check that splits, fractions, limits, losses and class maps fit it.

    What no image tells is checked before the first one is decoded. Raises `UserError`, naming the file or the setting, before
    anything is trained.
    """
    check_undecoded(study, catalog)
    _check_data(study, catalog, catalog.prepare)
    if any(settings.test_size == "original" for _, settings in study.cells()):
        catalog.prepare_masks(study)


def check_prepared(study: Study, catalog: Catalog) -> frozenset[str]:
    """Check the data sets that the store holds as a run checks all; return the names of those that it does not hold."""
    undecoded: set[str] = set()

    def find(*wanted: Any) -> Prepared | None:
        if (data := catalog.find(*wanted)) is None and wanted[0] not in catalog.absent:
            undecoded.add(wanted[0])
        return data

    _check_data(study, catalog, find)
    return frozenset(undecoded)


def _check_data(study: Study, catalog: Catalog, get: Callable[..., Prepared | None]) -> None:
    """Check splits, fractions, limits and masks of the data sets that `get` returns; it is asked for each once."""
    get = cache(get)
    for _, settings in study.cells():
        if (target := get(study.target_name, study.target.classes, settings.image_px, settings.fit)) is not None:
            _check_target(target, study, settings)
        for stage in settings.chain.stages:
            if stage.dataset is not None:
                source = get(stage.dataset, None, settings.source_px, settings.source_fit)
                if source is not None and target is not None:
                    for fold in study.folds(settings):
                        _check_source(stage, settings.model_copy(update={"fold": fold}), study, catalog, source)


def _check_target(target: Prepared, study: Study, settings: Settings) -> None:
    """Raise `UserError` for masks, splits or fractions of the target that cannot be."""
    check_masks(target)
    for share, fold in split_choices(study, settings):
        split = target_split(target, study, share, fold)
        for fraction in fractions(study, settings):
            subset(target, split.train, fraction, seed=0)
        check_split_masks(target, split)


def check_undecoded(study: Study, catalog: Catalog) -> None:
    """Raise `UserError` for a class name, loss, source or weight file that does not fit. Decodes no image.

    Of data sets that a lenient catalog does not find nothing is known, so nothing is refused.
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
                _check_source_names(stage, stage.dataset, settings, study, catalog)
    for stage, architecture, scope in sorted(files, key=lambda use: (str(use[0]), *use[1:])):
        assert stage.path is not None
        model, mapped = build_without_numbers(architecture, len(classes)), maps.get(str(stage)) if scope == "all" else None
        check_file(Path(stage.path).expanduser(), model, scope, stage.prefix, mapped)


def _check_source_names(stage: Stage, dataset: str, settings: Settings, study: Study, catalog: Catalog) -> None:
    """Raise `UserError` for a supervised stage on the target's own dataset, without masks, or with a loss that does not fit.

    A self-supervised stage may train on the target's dataset: held-out images are left out of it.
    """
    if dataset in catalog.absent or stage.self_supervised:
        return
    if study.target_name not in catalog.absent and catalog.same(dataset, study.target_name):
        raise UserError(f"source {stage}: is the target's own data set; it would train on the target's test pictures")
    check_loss(settings.source_loss, catalog.classes(dataset, None))


def _check_source(stage: Stage, settings: Settings, study: Study, catalog: Catalog, source: Prepared) -> None:
    """Raise `UserError` for a source that leaves a stage too few images, or whose masks do not fit."""
    without, leakage = catalog.left_out(study, stage, settings), study.target.leakage
    labelled = stage.supervised
    split = split_source(source, stage.limit, 0, settings.source_split, labelled=labelled, without=without, leakage=leakage)
    check_source_size(stage, len(split.train))
    if labelled:
        check_masks(source)


def _file_uses(stage: Stage, settings: Settings, study: Study, catalog: Catalog) -> set[tuple[Stage, str, str]]:
    """Return how a cell uses a weight file: its stage, the architecture, and what is transferred."""
    _, *after = settings.chain.stages
    if after:
        scopes: Sequence[str] = ["encoder" if after[0].self_supervised else "all-but-classifier"]
    else:
        scopes = tuned_values(study, "transfer", settings.transfer)
    if "all" in scopes and study.target.class_map and stage_classes(stage, catalog) is None:
        raise UserError(f"transfer=all from {stage}: a file does not say its classes, so class_map cannot be applied")
    return {(stage, settings.architecture, scope) for scope in scopes}
