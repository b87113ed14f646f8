"""Mapping of the sources' classes to the target's classes, for all sources of a study."""

from collections.abc import Mapping, Sequence

from segsweep.config.class_name import foreground_number, same_class
from segsweep.config.source import Stage
from segsweep.config.study import Study
from segsweep.data.table import class_names
from segsweep.errors import UserError, unknown
from segsweep.models.class_map import ClassMap, map_classes
from segsweep.models.pretrained import COCO_WEIGHTS_CLASSES, classes_of_weights
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.study_values import tuned_values

CLASSES_OF_WEIGHTS = {"coco-weights": COCO_WEIGHTS_CLASSES}  # kind of stage -> classes of the published model


def class_maps(study: Study, catalog: Catalog) -> dict[str, ClassMap]:
    """Return the class map of every source that needs one, by the source's name.

    A source needs one if its classes are known and some cell transfers its classifier (`transfer=all`) or tests its model before
    fine-tuning (`domain_shift=on`). Raises `UserError` if a source with `transfer=all` shares no class with the target. Raises it
    also for a synonym that is a class neither of a source of the study nor of any known dataset.
    """
    if study.target_name in catalog.absent:
        return {}
    check_target_classes(study, catalog)
    known, maps, theirs = catalog.classes(study.target_name, study.target.classes), {}, {}
    for _, settings in study.cells():
        if (classes := stage_classes(settings.chain.last, catalog)) is None:
            continue
        theirs[settings.source] = classes
        transferred = "all" in tuned_values(study, "transfer", settings.transfer)
        if transferred or "on" in tuned_values(study, "domain_shift", settings.domain_shift):
            try:
                maps[settings.source] = map_classes(classes, known, study.target.class_map)
            except UserError as error:
                if transferred:
                    raise UserError(f"transfer=all from {settings.source}: {error}") from None
    if theirs:
        _check_synonyms(study.target.class_map, theirs)
    return maps


def check_target_classes(study: Study, catalog: Catalog) -> None:
    """Raise `UserError` if a study names a class that its target does not have. An absent target is not checked."""
    if study.target_name in catalog.absent:
        return
    known = catalog.classes(study.target_name, study.target.classes)
    foreground_number(known, study.target.foreground)
    for name in study.target.class_map:
        if not any(same_class(name, other) for other in known):
            raise unknown("Target class_map", name, list(known))


def _check_synonyms(class_map: Mapping[str, Sequence[str]], theirs: Mapping[str, Sequence[str]]) -> None:
    """Raise `UserError` for a synonym that is a class neither of a source nor of another known dataset (a possible source)."""
    names = [*class_names(), *(name for classes in theirs.values() for name in classes)]
    for name, synonyms in class_map.items():
        for synonym in synonyms:
            if not any(same_class(synonym, other) for other in names):
                listed = "; ".join(f"{source}: {', '.join(classes)}" for source, classes in theirs.items())
                raise UserError(f"Target class_map {name} <- {synonym!r}: no source has this class; classes of sources: {listed}")


def stage_classes(stage: Stage | None, catalog: Catalog) -> Sequence[str] | None:
    """Return the classes of the whole model that a stage makes; None if it makes only an encoder or the classes are unknown."""
    if stage is None or stage.encoder_only:
        return None
    if stage.path is not None:
        return classes_of_weights(catalog.key(f"file:{stage.path}", None, 0))
    if stage.dataset is not None:
        return None if stage.dataset in catalog.absent else catalog.classes(stage.dataset, None)
    return CLASSES_OF_WEIGHTS.get(stage.kind)
