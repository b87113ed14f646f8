"""Remarks on a study's images before a run: identical images, groups in several splits, odd masks, ranges of 16-bit files."""

from collections.abc import Iterator

import numpy as np

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import PREVENT, Study
from segsweep.data.bit_depth import range_remarks
from segsweep.data.duplicates import conflicting, named, pairs_between, partners, repetitions
from segsweep.data.groups import group_numbers, grouped, has_groups
from segsweep.data.mask_checks import check_masks, check_split_masks, mask_remarks
from segsweep.data.prepared import Prepared
from segsweep.data.splits import PARTS, Split
from segsweep.sweep.catalog import Catalog, target_split
from segsweep.sweep.study_values import dev_shares, split_choices

SHOWN = 3  # groups that a line lists
AS_PUBLISHED = "nothing is moved (leakage='report'), so scores may be too high"


def data_remarks(study: Study, catalog: Catalog) -> list[str]:
    """Return remarks on a study's data.

    They cover unused files, copies and groups in the target's splits, images that sources share with the target, odd masks and
    the ranges of 16-bit images. Datasets that are not prepared, as for a plan, are skipped. Raises `UserError` for masks from
    which nothing can be learned.
    """
    lines = [f"dataset {name!r}: {line}" for name in _names(study) for line in catalog.folder_remarks(name)]
    targets = {(cell.image_px, cell.fit, dev_shares(study, cell)): cell for _, cell in study.cells()}
    lines += [line for cell in targets.values() for line in _target(study, catalog, cell)]
    sources = {
        (stage, cell.source_px, cell.source_fit, *of_target): (stage, cell)
        for of_target, cell in (((cell.image_px, cell.fit, dev_shares(study, cell)), cell) for _, cell in study.cells())
        for stage in cell.chain.stages
        if stage.trains
    }
    lines += [line for stage, cell in sources.values() for line in _source(study, catalog, stage, cell)]
    return list(dict.fromkeys(lines))


def _names(study: Study) -> list[str]:
    """Return the names of the datasets that a study reads."""
    datasets = (stage.dataset for _, cell in study.cells() for stage in cell.chain.stages)
    return list(dict.fromkeys([study.target_name, *(name for name in datasets if name is not None)]))


def _target(study: Study, catalog: Catalog, cell: Settings) -> Iterator[str]:
    """Yield remarks on the target at the size and fit of a cell."""
    if (target := catalog.find_target(study, cell)) is None:
        return
    yield from _ranges(target)
    yield from _masks(target)
    folds = study.folds(cell)
    for share, fold in split_choices(study, cell):
        split = target_split(target, study, share, fold)
        check_split_masks(target, split)
        if fold in (None, folds[0]):  # remarks on the other folds would be alike
            of = "" if len(folds) == 1 else f"fold {fold} of {len(folds)}: "
            yield from (of + line for line in (*_copies(target, split, study), *_groups(target, split, study)))


def _ranges(data: Prepared) -> Iterator[str]:
    yield from (f"dataset {data.dataset!r}: {line}" for line in range_remarks(data))


def _masks(data: Prepared) -> Iterator[str]:
    check_masks(data)
    yield from (f"dataset {data.dataset!r}: {line}" for line in mask_remarks(data))


def _copies(data: Prepared, split: Split, study: Study) -> Iterator[str]:
    """Yield remarks on identical images in the target's splits."""
    train, val = np.setdiff1d(split.train, split.train_copies), np.setdiff1d(split.val, split.val_copies)
    copies = np.concatenate([split.train_copies, split.val_copies])
    pairs = [(held, copy) for copy, held in partners(data, copies, split.test, val)]
    if pairs:
        held = [member for member, _ in pairs]
        counts = [
            f"{count} of {len(part)} {name} images"
            for name, part in (("test", split.test), ("val", val))
            if (count := int(np.isin(part, held).sum()))
        ]
        moved = f"{len(split.train_copies)} copies are removed from training and {len(split.val_copies)} from validation"
        then = moved if study.target.leakage == PREVENT else AS_PUBLISHED
        yield f"{' and '.join(counts)} are identical to images of an earlier split ({named(data, data, pairs)}): {then}"
    if differing := conflicting(data, repetitions(data, np.concatenate([split.test, val, train, copies]))):
        yield f"{len(differing)} pairs of identical images have different masks ({named(data, data, differing)}); correct them"
    for name, part in zip(PARTS, (train, val, split.test), strict=True):
        if again := repetitions(data, part):
            kept = f"({named(data, data, again)}); all are kept"
            yield f"{len(again)} of {len(part)} {name} images repeat another {name} image {kept}"


def _groups(data: Prepared, split: Split, study: Study) -> Iterator[str]:
    """Yield a remark on the target's groups: how many each split has, or which ones have images in several splits."""
    data = grouped(data, study.target.groups)
    if not has_groups(data):
        return
    numbers = group_numbers(data.groups)
    parts = [set(numbers[part].tolist()) for part in (split.train, split.val, split.test)]
    crossing = [number for number in sorted(set().union(*parts)) if sum(number in part for part in parts) > 1]
    if not crossing:
        sizes = (f"{len(found)} {name}" for name, found in zip(PARTS, parts, strict=True))
        images = ", ".join(str(len(part)) for part in (split.train, split.val, split.test))
        yield f"each group is in one split: {', '.join(sizes)} groups ({images} images)"
        return
    names = dict(zip(numbers.tolist(), data.groups, strict=True))
    shown = ", ".join(str(names[number]) for number in crossing[:SHOWN]) + (", ..." if len(crossing) > SHOWN else "")
    count = f"{len(crossing)} of {len(set().union(*parts))} groups"
    divided = (
        f"protocol {study.target.protocol!r} divides them, so scores may be too high; a percentage protocol such as '60-20-20' "
        "keeps groups together"
    )
    then = divided if study.target.leakage == PREVENT else AS_PUBLISHED
    yield f"{count} have images in more than one of train, val and test ({shown}): {then}"


def _source(study: Study, catalog: Catalog, stage: Stage, cell: Settings) -> Iterator[str]:
    """Yield remarks on a source: its ranges and masks, and the images that it shares with the target's held-out images."""
    assert stage.dataset is not None
    source, target = catalog.find(stage.dataset, None, cell.source_px, cell.source_fit), catalog.find_target(study, cell)
    if source is None or target is None:
        return
    yield from _ranges(source)
    if stage.supervised:
        yield from _masks(source)
    folds = study.folds(cell)
    each = [catalog.shared(study, stage, cell.model_copy(update={"fold": fold})) for fold in folds]
    shared = np.array(each[0], dtype=np.int64)
    if len(shared) == 0:
        return
    if len(folds) > 1:
        fewest, most = min(map(len, each)), max(map(len, each))
        yield f"source {stage}: for each fold, its validation and test images are removed from the source ({fewest} to {most})"
        return
    if catalog.same(stage.dataset, study.target_name):
        yield f"source {stage}: this is the target's own dataset; its {len(shared)} validation and test images are removed"
        return
    pairs = pairs_between(source, shared, target)
    then = "they are removed from the source" if study.target.leakage == PREVENT else "they are trained on (leakage='report')"
    yield (
        f"source {stage}: {len(shared)} of {len(source.names)} images are identical to validation or test images of the target "
        f"({named(source, target, pairs)}): {then}"
    )
    if len(pairs_between(source, np.arange(len(source.names)), target)) == len(source.names):
        yield f"source {stage}: all its images are images of the target, so it trains on the target's own training images"
