"""Checks of settings against the listed data: classes, outputs, sizes, batches, fractions and limits."""

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
    """Raise `UserError`, with the setting, for a class, output, size, batch, fraction or source that does not fit the data.

    It is called before and after the data is prepared. Before, the number of training images is that of the reader's list, which
    includes copies; it is unknown if groups are stratified by the content of their masks.
    """
    for _, settings in study.cells():
        catalog.key(study.target_name, study.target.classes, settings.image_px, settings.fit)  # detects an absent dataset
    check_target_classes(study, catalog)
    for _, settings in study.cells():
        _check_fractions(study, settings, catalog)
        _check_output(study, settings, catalog)
        _check_test_size(study, settings, catalog)
        _check_batches(study, settings, catalog)
        _check_sources(settings, catalog)


def _check_output(study: Study, settings: Settings, catalog: Catalog) -> None:
    """Reject a single logit for a target with other than two classes."""
    classes = catalog.classes(study.target_name, study.target.classes)
    if "sigmoid" in tuned_values(study, "output", settings.output) and len(classes) != 2:
        raise UserError(
            f"output=sigmoid: one logit separates two classes, but {study.target_name} has {len(classes)}: {', '.join(classes)}; "
            "use output=softmax"
        )


def _check_test_size(study: Study, settings: Settings, catalog: Catalog) -> None:
    """Reject a test at the masks' original sizes if images are cropped: the removed parts have no prediction."""
    fit = catalog.target_fit(study, settings) if settings.test_size == "original" else None
    if fit not in (None, *WHOLE_FITS):
        raise UserError(
            f"test_size=original: fit={fit} crops the images, so parts of them have no prediction; "
            f"use fit={' or '.join(WHOLE_FITS)}, or test_size=image_px"
        )


def _check_batches(study: Study, settings: Settings, catalog: Catalog) -> None:
    """Reject a batch of one image for an architecture that normalises over the batch."""
    name = settings.architecture
    for what, policies, image_px in _batches_of_one(study, settings, catalog):
        if any(needs_two_images(name, image_px, policy) for policy in policies):
            raise UserError(f"{what}: {name} normalises over the batch at {image_px} px and needs at least 2 images")


def _check_fractions(study: Study, settings: Settings, catalog: Catalog) -> None:
    """Reject a fraction that selects no image."""
    if study.target_name in catalog.absent or catalog.split_is_open(study):
        return
    for dev_share, fold in split_choices(study, settings):
        for fraction in fractions(study, settings):
            count_of_fraction(fraction, catalog.target_sizes(study, dev_share, fold)[0], study.target_name)


def _check_sources(settings: Settings, catalog: Catalog) -> None:
    """Reject a missing weight file, and a dataset with fewer images than its limit or than training needs.

    Images are counted in the reader's list, which still includes images that the target holds out.
    """
    for stage in settings.chain.stages:
        if stage.path is not None:
            catalog.key(f"file:{stage.path}", None, 0)
        elif stage.dataset is not None:
            catalog.key(stage.dataset, None, settings.source_px, settings.source_fit)  # detects an absent dataset
            if stage.dataset not in catalog.absent:
                images, _ = catalog.source_sizes(stage.dataset, None, settings.source_split)
                check_limit(stage.limit, images, stage.dataset)
                check_source_size(stage, min(images, stage.limit or images))


def check_source_size(stage: Stage, images: int) -> None:
    """Raise `UserError` for a source with fewer than two training images."""
    if images < 2:
        raise UserError(f"source {stage}: too few training images: {images}; needs at least 2")


def _batches_of_one(study: Study, settings: Settings, catalog: Catalog) -> Iterator[tuple[str, list[str], int]]:
    """Yield the settings that lead to a batch of one image in a trial or supervised stage of a cell.

    Each comes with the freeze policies that it can meet and the image size in pixels.
    """
    policies = [str(policy) for policy in tuned_values(study, "freeze", settings.freeze)]
    if any(tuned_values(study, "unfreeze_every_epochs", settings.unfreeze_every_epochs)):
        policies.append("none")  # the final state of gradual unfreezing
    if "train" in tuned_values(study, "frozen_norm", settings.frozen_norm):
        policies.append("none")  # frozen layers also normalise over the batch
    if 1 in tuned_values(study, "batch_size", settings.batch_size):
        yield "batch_size=1", policies, settings.image_px
    if batch_sizes(settings).get("source_batch_size") == 1:
        yield "source_batch_size=1", ["none"], settings.source_px
    for dev_share, fold in split_choices(study, settings):
        train = catalog.target_sizes(study, dev_share, fold)[0]
        of = "" if fold is None else f" of fold {fold}"
        for fraction in fractions(study, settings):
            if round(fraction * train) == 1 and not catalog.split_is_open(study):
                single = ["none"] if settings.chain.last is None else policies  # random frozen layers are calibrated on it
                yield f"fraction={fraction} leaves one of {train} training images{of}", single, settings.image_px
    for stage in settings.chain.stages:
        if stage.supervised and stage.limit == 1:
            yield f"source {stage}", ["none"], settings.source_px
