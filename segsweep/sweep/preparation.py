"""Preparation of a study's data, and checks of its decoded images and masks."""

from collections.abc import Callable
from functools import cache
from typing import Any

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import Study
from segsweep.data.mask_checks import check_masks, check_split_masks
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source, subset
from segsweep.sweep.catalog import Catalog, target_split
from segsweep.sweep.setting_checks import check_source_size
from segsweep.sweep.study_values import fractions, split_choices


def prepare_all(study: Study, catalog: Catalog) -> None:
    """Prepare every dataset of a study.

    Raises `UserError`, with the file or the setting, for unusable images and masks, and for splits, fractions and limits that do
    not fit the data.
    """
    _check_data(study, catalog, catalog.prepare)
    if any(settings.test_size == "original" for _, settings in study.cells()):
        catalog.prepare_masks(study)


def check_prepared(study: Study, catalog: Catalog) -> frozenset[str]:
    """Check the datasets in the store as `prepare_all` does; return the names of datasets that the store lacks."""
    undecoded: set[str] = set()

    def find(*wanted: Any) -> Prepared | None:
        if (data := catalog.find(*wanted)) is None and wanted[0] not in catalog.absent:
            undecoded.add(wanted[0])
        return data

    _check_data(study, catalog, find)
    return frozenset(undecoded)


def _check_data(study: Study, catalog: Catalog, get: Callable[..., Prepared | None]) -> None:
    """Check splits, fractions, limits and masks of the datasets that `get` returns; it is called once per dataset."""
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
    """Raise `UserError` for unusable masks, splits or fractions of the target."""
    check_masks(target)
    for share, fold in split_choices(study, settings):
        split = target_split(target, study, share, fold)
        for fraction in fractions(study, settings):
            subset(target, split.train, fraction, seed=0)
        check_split_masks(target, split)


def _check_source(stage: Stage, settings: Settings, study: Study, catalog: Catalog, source: Prepared) -> None:
    """Raise `UserError` for a source with too few training images or unusable masks."""
    without, leakage = catalog.left_out(study, stage, settings), study.target.leakage
    labelled = stage.supervised
    split = split_source(source, stage.limit, 0, settings.source_split, labelled=labelled, without=without, leakage=leakage)
    check_source_size(stage, len(split.train))
    if labelled:
        check_masks(source)
