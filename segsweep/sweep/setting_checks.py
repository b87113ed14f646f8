"""Checks of settings against listed data: classes, outputs, sizes, batches, fractions and limits that do not fit."""

from collections.abc import Iterator

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.stage_settings import batch_sizes
from segsweep.config.study import Study
from segsweep.data.splits import check_limit, count_of_fraction
from segsweep.errors import UserError
from segsweep.models.batch_of_one import needs_two_images
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.class_maps import check_target_classes
from segsweep.sweep.study_values import fractions, split_choices, tuned_values

WHOLE_FITS = ("resize", "nearest")  # after which a square shows the whole image


def check_settings(study: Study, catalog: Catalog) -> None:
    """Raise `UserError` for a class, an output, a size or a batch that does not fit the data, and name the setting.

    Before the data is prepared, the number of training images is that of the reader's list, which still counts copies, and
    unknown where groups are divided by what masks show. So this is checked before preparation and again after it.
    """
    for _, settings in study.cells():
        catalog.key(study.target_name, study.target.classes, settings.image_px, settings.fit)  # a plan notes absent data by it
    check_target_classes(study, catalog)
    for _, settings in study.cells():
        _check_fractions(study, settings, catalog)
        _check_output(study, settings, catalog)
        _check_test_size(study, settings, catalog)
        _check_batches(study, settings, catalog)
        _check_sources(settings, catalog)


def _check_output(study: Study, settings: Settings, catalog: Catalog) -> None:
    """Refuse a single logit for a target of other than two classes."""
    classes = catalog.classes(study.target_name, study.target.classes)
    if "sigmoid" in tuned_values(study, "output", settings.output) and len(classes) != 2:
        raise UserError(
            f"output=sigmoid: one logit tells two classes apart; {study.target_name} has {len(classes)}: {', '.join(classes)}; "
            "take output=softmax"
        )


def _check_test_size(study: Study, settings: Settings, catalog: Catalog) -> None:
    """Refuse a test at the masks' own sizes where images are cut: what is cut off is not predicted."""
    fit = catalog.target_fit(study, settings) if settings.test_size == "original" else None
    if fit not in (None, *WHOLE_FITS):
        raise UserError(
            f"test_size=original: with fit={fit} parts of the images are cut off; "
            f"take fit={' or '.join(WHOLE_FITS)}, or test_size=image_px"
        )


def _check_batches(study: Study, settings: Settings, catalog: Catalog) -> None:
    """Refuse a batch of one image where an architecture normalises over the batch."""
    name = settings.architecture
    for what, policies, image_px in _batches_of_one(study, settings, catalog):
        if any(needs_two_images(name, image_px, policy) for policy in policies):
            raise UserError(f"{what}: {name} normalises over the batch at {image_px} px and needs at least 2 images")


def _check_fractions(study: Study, settings: Settings, catalog: Catalog) -> None:
    """Refuse a fraction that takes no image."""
    if study.target_name in catalog.absent or catalog.split_is_open(study):
        return
    for dev_share, fold in split_choices(study, settings):
        for fraction in fractions(study, settings):
            count_of_fraction(fraction, catalog.target_sizes(study, dev_share, fold)[0], study.target_name)


def _check_sources(settings: Settings, catalog: Catalog) -> None:
    """Refuse a weight file that is missing, and a dataset with fewer images than its limit or than training needs.

    Images are counted as far as the reader's list tells: those that the target holds out are not left out of it here.
    """
    for stage in settings.chain.stages:
        if stage.path is not None:
            catalog.key(f"file:{stage.path}", None, 0)
        elif stage.dataset is not None:
            catalog.key(stage.dataset, None, settings.source_px, settings.source_fit)  # a plan notes absent data by it
            if stage.dataset not in catalog.absent:
                images, _ = catalog.source_sizes(stage.dataset, None, settings.source_split)
                check_limit(stage.limit, images, stage.dataset)
                check_source_size(stage, min(images, stage.limit or images))


def check_source_size(stage: Stage, images: int) -> None:
    """Raise `UserError` for a source that leaves a stage fewer than two images to train on."""
    if images < 2:
        raise UserError(f"source {stage}: {images} picture to train on; needs at least 2")


def _batches_of_one(study: Study, settings: Settings, catalog: Catalog) -> Iterator[tuple[str, list[str], int]]:
    """Yield what makes a batch of one image in some trial or supervised stage of a cell, the freeze policies, and the size."""
    policies = [str(policy) for policy in tuned_values(study, "freeze", settings.freeze)]
    if any(tuned_values(study, "unfreeze_every_epochs", settings.unfreeze_every_epochs)):
        policies.append("none")  # which is what it comes to
    if "train" in tuned_values(study, "frozen_norm", settings.frozen_norm):
        policies.append("none")  # frozen layers too normalise over the batch
    if 1 in tuned_values(study, "batch_size", settings.batch_size):
        yield "batch_size=1", policies, settings.image_px
    if batch_sizes(settings).get("source_batch_size") == 1:
        yield "source_batch_size=1", ["none"], settings.source_px
    for dev_share, fold in split_choices(study, settings):
        train = catalog.target_sizes(study, dev_share, fold)[0]
        of = "" if fold is None else f" of fold {fold}"
        for fraction in fractions(study, settings):
            if round(fraction * train) == 1 and not catalog.split_is_open(study):
                single = ["none"] if settings.chain.last is None else policies  # held layers take their statistics from it
                yield f"fraction={fraction} leaves one of {train} training images{of}", single, settings.image_px
    for stage in settings.chain.stages:
        if stage.supervised and stage.limit == 1:
            yield f"source {stage}", ["none"], settings.source_px
