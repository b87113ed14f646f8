"""The scores of a study's confirmed runs per training seed and test image, from its records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from segsweep.config.folds import folds_of
from segsweep.records.study_records import Records
from segsweep.report.answer.contrasts import LEVEL, Contrasts
from segsweep.report.answer.linearised import CLASS_IOU, OF_COUNTS, OF_IMAGES, Floats, ImageCounts, linearised
from segsweep.report.answer.looks import level_of
from segsweep.report.cells import confirmed_runs

PIXELS = ["hit", "true", "predicted"]


@dataclass(frozen=True)
class Engine:
    """Contrasts between the cells that have all of some units.

    Attributes:
        cells: Names of the cells, in the order of `contrasts.mean`.
        units: Seeds or source models that all of these cells have.
        contrasts: Estimates and intervals.
        per_unit: (C, S), the mean score of each cell per unit.
    """

    cells: tuple[str, ...]
    units: tuple[int, ...]
    contrasts: Contrasts
    per_unit: Floats

    def weights(self, of_cells: Mapping[str, float]) -> Floats:
        """Return the weights (C,) of a contrast from the weights of single cells. Raises `KeyError` for a cell without scores."""
        weights = np.zeros(len(self.cells))
        for cell, weight in of_cells.items():
            weights[self._position(cell)] += weight
        return weights

    def _position(self, cell: str) -> int:
        if cell not in self.cells:
            raise KeyError(cell)
        return self.cells.index(cell)


@dataclass(frozen=True)
class StudyScores:
    """Linearised scores of one measure by cell, unit, fold and image.

    A unit is a training seed, or a source model if the study has several models per source: runs that share a source model are
    not independent, so their scores are averaged.

    Attributes:
        measure: Name of the measure: a column of the trials table without `test_`.
        models: Whether the units are source models.
        folds: Numbers of the folds; a single 0 without folds.
        repetitions: Number of the repetition that each fold belongs to.
        images: Number of test images, over all folds.
        by_cell: For each cell and unit, the scores (N,) of every fold.
        level: Level of the intervals.
    """

    measure: str
    models: bool
    folds: tuple[int, ...]
    repetitions: tuple[int, ...]
    images: int
    by_cell: Mapping[str, Mapping[int, Sequence[Floats]]]
    level: float = LEVEL
    _engines: dict[frozenset[int], Engine] = field(default_factory=dict, repr=False)

    @property
    def cells(self) -> tuple[str, ...]:
        """Cells with at least one complete unit."""
        return tuple(self.by_cell)

    def common(self, cells: Sequence[str]) -> frozenset[int]:
        """Return the units that all of these cells have; none for a cell without scores."""
        return frozenset.intersection(*(frozenset(self.by_cell.get(cell, {})) for cell in cells))

    def engine(self, cells: Sequence[str]) -> Engine | None:
        """Return contrasts over all units that these cells have in common, None if there are none.

        The engine holds all cells with these units, since each of them tells how much units vary.
        """
        units = self.common(cells)
        if units and units not in self._engines:
            self._engines[units] = self._build(units)
        return self._engines.get(units)

    def _build(self, units: frozenset[int]) -> Engine:
        cells, ordered = [cell for cell, found in self.by_cell.items() if units <= found.keys()], sorted(units)
        folds = [
            np.stack([np.stack([self.by_cell[cell][unit][fold] for unit in ordered]) for cell in cells])
            for fold in range(len(self.folds))
        ]
        per_unit = np.mean([scores.mean(axis=2) for scores in folds], axis=0)
        return Engine(tuple(cells), tuple(ordered), Contrasts.of(folds, self.repetitions, self.level), per_unit)


def study_scores(records: Records, measure: str = "iou") -> StudyScores:
    """Return the scores of the finished confirmed runs of a study.

    Args:
        records: The records of the study. Without counts per image (schema 1), there are no scores of measures from counts.
        measure: `iou`, `f1`, `accuracy`, `precision`, `recall`, `mean_accuracy`, `mean_iou`, `weighted_iou`, `iou_CLASS`, `dice`
            or `boundary_f`.

    Raises `ValueError` for another measure, and for a class that no run's counts have.
    """
    _check(measure, records)
    runs = confirmed_runs(records)
    runs = runs.assign(unit=_units(runs, records), fold=runs["fold"].fillna(0).astype(int))
    of_runs = _image_means(records, measure) if measure in OF_IMAGES else _from_counts(records, runs, measure)
    runs = runs[runs["trial_id"].isin([trial for trial, scores in of_runs.items() if scores.notna().any()])]
    complete = _complete_folds(runs)
    kept = {fold: _common_images([of_runs[trial] for trial in runs.loc[runs["fold"] == fold, "trial_id"]]) for fold in complete}
    folds = [fold for fold in complete if len(kept[fold])]
    by_cell: dict[str, dict[int, list[Floats]]] = {}
    order = [cell for cell in records.study["cells"] if cell in set(runs["cell"])]
    for cell in order:
        for unit, of_unit in runs[runs["cell"] == cell].groupby("unit"):
            scores = [
                [of_runs[trial].loc[kept[fold]].to_numpy() for trial in of_unit.loc[of_unit["fold"] == fold, "trial_id"]]
                for fold in folds
            ]
            if scores and all(scores):
                by_cell.setdefault(cell, {})[int(unit)] = [np.mean(each, axis=0) for each in scores]
    images = len(set().union(*kept.values()))  # repetitions test the same images
    repetitions = tuple(_repetition(fold, records) for fold in folds)
    models = int(records.study["source_seeds"]) > 1
    return StudyScores(measure, models, tuple(folds), repetitions, images, by_cell, level_of(records.study))


def _check(measure: str, records: Records) -> None:
    """Raise `ValueError` unless a measure can be computed from the records."""
    classes = [] if records.counts.empty else sorted(f"{CLASS_IOU}{name}" for name in records.counts["class"].unique())
    known = (*OF_COUNTS, *OF_IMAGES, *classes)
    if measure not in known and not (measure.startswith(CLASS_IOU) and not classes):
        raise ValueError(f"measure {measure!r}: unknown; use one of {', '.join(known)}")


def _repetition(fold: int, records: Records) -> int:
    """Return the repetition of cross-validation that a fold belongs to; 0 without folds."""
    declared = folds_of(records.study["target"]["protocol"])
    return (fold - 1) // declared.count if declared else 0


def _units(runs: pd.DataFrame, records: Records) -> "pd.Series[int]":
    """Return the unit of each run: its seed, or its source model, of which seeds take turns, also where a cell has no source."""
    models = int(records.study["source_seeds"])
    seeds = runs["seed"].astype(int)
    if models == 1:
        return seeds
    known = runs.dropna(subset=["source_seed"]).groupby(seeds)["source_seed"].first().astype(int)
    return seeds.map(known).fillna(seeds % models).astype(int)


def _complete_folds(runs: pd.DataFrame) -> list[int]:
    """Return the folds in which every cell with runs has one."""
    cells = runs["cell"].nunique()
    of_folds = runs.groupby("fold")["cell"].nunique()
    return [int(str(fold)) for fold, count in of_folds.items() if count == cells]


def _common_images(runs: Sequence["pd.Series[float]"]) -> "pd.Index[Any]":
    """Return the images that all runs scored, in the order of the first run."""
    kept: pd.Index[Any] = runs[0].dropna().index if runs else pd.Index([])
    for run in runs[1:]:
        if not (run.index.equals(kept) and run.notna().all()):
            kept = kept[kept.isin(run.dropna().index)]
    return kept


def _image_means(records: Records, measure: str) -> dict[str, "pd.Series[float]"]:
    """Return the scores per image of each run, for a measure that is a mean over images."""
    return {
        str(trial): rows.set_index("image")[measure].astype("float64")
        for trial, rows in records.images.groupby("trial_id", sort=False)
    }


def _from_counts(records: Records, runs: pd.DataFrame, measure: str) -> dict[str, "pd.Series[float]"]:
    """Return the linearised scores per image of each run with counts."""
    counts = records.counts[records.counts["trial_id"].isin(runs["trial_id"])]
    if counts.empty:
        return {}
    classes, foreground = tuple(pd.unique(counts["class"])), runs.set_index("trial_id")["foreground"]
    number_of = {name: number for number, name in enumerate(classes)}
    found = {}
    for trial, rows in counts.groupby("trial_id", sort=False):
        image_codes, images = pd.factorize(rows["image"])
        pixels = np.zeros((3, len(images), len(classes)))
        pixels[:, image_codes, rows["class"].map(number_of).to_numpy()] = rows[PIXELS].to_numpy(dtype=np.float64).T
        name = foreground[str(trial)]
        hit, true, predicted = pixels
        of_run = ImageCounts(hit, true, predicted, classes, None if pd.isna(name) else str(name))
        found[str(trial)] = pd.Series(linearised(of_run, measure), index=images)
    return found
