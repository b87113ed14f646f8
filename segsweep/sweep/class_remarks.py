"""Remarks on classes before a run: the mapping from sources to the target, and classes that no image of a split shows."""

from collections.abc import Iterator
from itertools import product

from segsweep.config.class_name import foreground_number, is_background
from segsweep.config.settings import Settings
from segsweep.config.study import TUNING_SEED, Study
from segsweep.data.prepared import Prepared
from segsweep.data.splits import OWN_VAL, Indices, subset
from segsweep.errors import UserError
from segsweep.sweep.catalog import Catalog, target_split
from segsweep.sweep.class_maps import class_maps, stage_classes
from segsweep.sweep.study_values import tuned_values

UNLEARNT = "cannot be learned"
UNMEASURED = "has no IoU there and is left out of means"
UNDECIDED = {  # value of `keep` that needs an IoU -> what the validation loss chooses instead
    "val_iou": "epochs and settings are chosen by the validation loss",
    "last": "settings are chosen by the validation loss",
}


def class_remarks(study: Study, catalog: Catalog) -> list[str]:
    """Return remarks on the class maps of sources, and on target classes that are absent from a split."""
    maps = class_maps(study, catalog)
    cells = (cell for _, cell in study.cells() if "on" in tuned_values(study, "domain_shift", cell.domain_shift))
    shifted = {cell.source: cell.chain.last for cell in cells}
    lines = []
    for source, mapped in maps.items():
        rest = "\nbefore fine-tuning, all other classes of the source count as background" if source in shifted else ""
        lines.append(f"target classes <- classes of {source}:\n{mapped}{rest}")
    for source, last in shifted.items():
        if source not in maps and stage_classes(last, catalog) is not None:
            lines.append(
                f"domain_shift=on: {source} has no target class except the background, so it is not tested "
                "before fine-tuning; Target(class_map=...) can name synonyms"
            )
    return lines + list(dict.fromkeys((*_headline(study, catalog), *_absent_classes(study, catalog))))


def _headline(study: Study, catalog: Catalog) -> Iterator[str]:
    """Yield a line if a target has two classes, none is called background, and the study does not name the foreground."""
    if study.target_name in catalog.absent or study.target.foreground is not None:
        return
    classes = catalog.classes(study.target_name, study.target.classes)
    if len(classes) == 2 and not any(map(is_background, classes)):
        yield (
            f"neither {classes[0]!r} nor {classes[1]!r} is called background: IoU, F1, precision and recall are those of "
            f"{classes[foreground_number(classes)]!r}; choose the other with Target(foreground=...)"
        )


def _absent_classes(study: Study, catalog: Catalog) -> Iterator[str]:
    """Yield a line for every split, and every subset of a fraction, whose images lack a class of the target.

    Datasets that are not prepared, as for a plan, are skipped.
    """
    for _, cell in study.cells():
        if (data := catalog.find_target(study, cell)) is None:
            continue
        data = data.with_foreground(study.target.foreground)
        for what, members in _image_sets(study, cell, data):
            if missing := [name for name, pixels in zip(data.classes, data.class_pixels(members), strict=True) if not pixels]:
                means = UNLEARNT if what.startswith("train") else UNMEASURED
                yield f"none of the {len(members)} {what} shows class {', '.join(map(repr, missing))}, which {means}"
                without = what.startswith("val") and len(data.classes) == 2 and data.classes[data.foreground] in missing
                if without and (effect := UNDECIDED.get(cell.keep)):
                    _check_losses_compare(study, what)
                    yield f"the {what} show no foreground: its IoU is undefined, so {effect}; choose another protocol"


def _check_losses_compare(study: Study, what: str) -> None:
    """Raise `UserError` if the validation loss would choose among trials with different losses or different splits."""
    differing = {"loss", "dev_share"} if study.target.protocol.endswith(OWN_VAL) else {"loss"}
    for axis in sorted(differing & set(study.tune)):
        raise UserError(
            f"study {study.name}: the {what} show no foreground, so the validation loss would choose the setting, but {axis} is "
            f"tuned and its values give losses that are not comparable; compare or fix {axis}, or choose another protocol"
        )


def _image_sets(study: Study, cell: Settings, data: Prepared) -> Iterator[tuple[str, Indices]]:
    """Yield the names and members of the splits, and of the subsets of the training split, that trials of a cell use."""
    for dev_share, fold in product(tuned_values(study, "dev_share", cell.dev_share), study.folds(cell)):
        split = target_split(data, study, dev_share, fold)
        of_fold = "" if fold is None else f" of fold {fold}"
        of_share = of_fold if dev_share is None else f"{of_fold} of dev_share={dev_share}"
        yield from (("val images" + of_share, split.val), ("test images" + of_fold, split.test))
        for fraction in tuned_values(study, "fraction", cell.fraction):
            for seed in range(TUNING_SEED, TUNING_SEED + (1 if fraction == 1 else study.seeds + 1)):  # all images: no seed
                of_fraction = "" if fraction == 1 else f" of fraction={fraction} with seed {seed}"
                yield f"train images{of_share}{of_fraction}", subset(data, split.train, fraction, seed)
