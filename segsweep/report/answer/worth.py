"""How many target images the sources of a study are worth, and what each axis matters: from its records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.contrasts import Floats
from segsweep.report.answer.images_saved import ImagesSaved, images_saved
from segsweep.report.answer.importance import Importance, importance
from segsweep.report.answer.scores import Engine
from segsweep.report.cells import confirmed_runs

PARTS = ("fraction", "dev_share")  # axes that change the number of target images


@dataclass(frozen=True)
class Worth:
    """What a source is worth at one number of target images.

    Attributes:
        source: Level of the axis `source`.
        images: Number of target images with which the source was fine-tuned.
        saved: Number of images with which the reference source does as well.
    """

    source: str
    images: float
    saved: ImagesSaved


def importance_of(answer: Answer) -> Importance | None:
    """Return what share of the differences between cells each compared axis explains; None if seeds or axes are too few."""
    engine, design = _deciding(answer), answer.design
    if engine is None or not design.varied:
        return None
    return importance({axis: [design.cells[cell][axis] for cell in engine.cells] for axis in design.varied}, engine.contrasts)


def worths(records: Records, answer: Answer) -> list[Worth]:
    """Return the worth of every source at every number of target images, averaged over all other axes.

    Empty unless sources and numbers of images are compared, all numbers with the reference source, and seeds decide.
    """
    axis = next((part for part in PARTS if part in answer.design.varied), None)
    engine = _deciding(answer)
    if axis is None or "source" not in answer.design.varied or engine is None:
        return []
    return list(_worths(answer, engine, axis, _images(records, answer, axis)))


def worth_text(answer: Answer, worth: Worth) -> str:
    """Return the worth of a source as a sentence, with the confidence set; open ends are named as such.

    Without an estimate where no number of images is excluded.
    """
    saved, reference = worth.saved, answer.level("source", answer.design.reference("source"))
    smallest, largest = (f"{number:,.0f}" for number in saved.tried)
    name = answer.level("source", worth.source)
    if not saved.says_something:
        tried = f"any number of images that was tried, {smallest} to {largest}"
        return f"With {worth.images:,.0f} images, {name} may score as {reference} with {tried}."
    low = f"{saved.low:,.0f}" if saved.low else f"fewer than {smallest}"
    high = f"{saved.high:,.0f}" if saved.high != float("inf") else f"more than {largest}"
    estimate = f"fewer than {smallest}" if not saved.estimate else f"more than {largest}"
    if 0 < saved.estimate < float("inf"):
        estimate = f"{saved.estimate:,.0f}"
    return f"With {worth.images:,.0f} images, {name} scores as {reference} with {estimate} images [{low}, {high}]."


def _deciding(answer: Answer) -> Engine | None:
    """Return the contrasts over the units that all cells have; None if they are too few for a statement on new units."""
    engine = answer.scores.engine(answer.scores.cells) if answer.scores.cells else None
    return engine if engine is not None and engine.contrasts.decides else None


def _images(records: Records, answer: Answer, axis: str) -> Mapping[str, float]:
    """Return the mean number of training images at each level of an axis."""
    runs = confirmed_runs(records)
    level_of = {cell: own[axis] for cell, own in answer.design.cells.items()}
    means = runs["train_images"].astype("float64").groupby(runs["cell"].map(level_of)).mean()
    return {str(level): float(number) for level, number in means.items() if pd.notna(number)}


def _worths(answer: Answer, engine: Engine, axis: str, images: Mapping[str, float]) -> Iterator[Worth]:
    design, reference = answer.design, answer.design.reference("source")
    levels = sorted((level for level in design.levels[axis] if level in images), key=images.__getitem__)
    if len({images[level] for level in levels}) < max(2, len(levels)):
        return
    for source in design.levels["source"]:
        for level in levels if source != reference else ():
            groups = _complete(answer, engine, axis, [(source, level), *((reference, each) for each in levels)])
            if groups:
                weights = [_mean(engine, [group[place] for group in groups]) for place in range(len(levels) + 1)]
                numbers = [images[each] for each in levels]
                saved = images_saved(engine.contrasts, weights[0], weights[1:], numbers)
                yield Worth(source, images[level], saved)


def _complete(answer: Answer, engine: Engine, axis: str, wanted: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the cells of all wanted (source, level) for each combination of the other axes that has scores for all of them."""
    others = [other for other in answer.design.others("source") if other != axis]
    found: dict[tuple[str, ...], dict[tuple[str, str], list[str]]] = {}
    for cell in engine.cells:
        own = answer.design.cells[cell]
        key = tuple(own[other] for other in others)
        found.setdefault(key, {}).setdefault((own["source"], own[axis]), []).append(cell)
    return [
        [cells[pair][0] for pair in wanted] for cells in found.values() if all(len(cells.get(pair, ())) == 1 for pair in wanted)
    ]


def _mean(engine: Engine, cells: Sequence[str]) -> Floats:
    return engine.weights({cell: 1 / len(cells) for cell in cells})
