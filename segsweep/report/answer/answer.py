"""The answer of a study: every cell with its interval, the cells that may be the best, the questions, and what limits them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite

import pandas as pd

from segsweep.config.folds import folds_of
from segsweep.records.study_records import Records
from segsweep.report.answer.best_set import beaten_by
from segsweep.report.answer.contrasts import Floats
from segsweep.report.answer.labels import cell_labels, level_labels
from segsweep.report.answer.linearised import OF_IMAGES
from segsweep.report.answer.matching import Design, design_of
from segsweep.report.answer.questions import MATTERS, Question, questions
from segsweep.report.answer.scores import StudyScores, study_scores
from segsweep.report.cells import best_first, confirmed_runs
from segsweep.report.search import SearchView, search_view
from segsweep.report.sources import trained_stages

FEW_IMAGES = 20  # below, the interval of a pooled ratio is rough: 91-97 % coverage where 95 % is meant


@dataclass(frozen=True)
class CellAnswer:
    """One cell: its score on the test split with a 95 % interval, as shares of the measure.

    Attributes:
        cell: Name of the cell; `label` is a short text that distinguishes it.
        estimate: Score, the mean over units; NaN without a finished run.
        half: Half-width of the 95 % interval of the score for new units and images; NaN without one. A cell with a single unit
            has none where other cells have more, because its interval would leave out what theirs cover.
        per_unit: Score of each seed, or source model.
        units: The seeds or source models with finished runs.
        beaten_by: The cell that is shown to score higher, None if there is none.
    """

    cell: str
    label: str
    estimate: float
    half: float
    per_unit: tuple[float, ...]
    units: tuple[int, ...]
    beaten_by: str | None

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval, within 0..1."""
        return max(self.estimate - self.half, 0.0), min(self.estimate + self.half, 1.0)

    @property
    def has_interval(self) -> bool:
        """Whether the score has an interval."""
        return isfinite(self.half)


@dataclass(frozen=True)
class Limits:
    """What the intervals of an answer do not cover.

    Attributes:
        models_per_source: Trained models per source; 0 if no source is trained. One hides the source's own chance.
        folds: Number of folds of the cross-validation; 0 for a single split.
        at_edge: Number of cells whose choice lies at the edge of the tuned range.
        failed: Number of confirmed runs that failed or were skipped.
        tuned: Whether settings were tuned, with one seed.
        few_images: Whether the test images are so few that the intervals are rough.
    """

    models_per_source: int
    folds: int
    at_edge: int
    failed: int
    tuned: bool
    few_images: bool


@dataclass(frozen=True)
class Answer:
    """What the records of a study say about its question.

    Attributes:
        study: Name of the study.
        measure: Column of the trials table without `test_`.
        images: Number of test images.
        units: Number of seeds, or source models, that all cells with scores have in common; `units_planned` is the number in the
            declaration.
        models: Whether units are source models.
        decides: Whether seeds and cells are enough for verdicts; otherwise intervals cover these trained models alone.
        covers_seeds: Whether the intervals cover new seeds at all; `covers_images` is the same for new test images.
        matters: Least difference that matters, as a share of the measure.
        cells: One per cell of the declaration, in its order.
        chosen: The cell with the best validation reading; None without finished runs.
        questions: The question of every compared axis.
        scores: The scores per unit and image, for further questions.
        limits: What the intervals do not cover.
        level_labels: For each compared axis, the labels of its levels.
        design: The cells with their levels.
        looks: Numbers of seeds at which a study that adds seeds looks at its answer; empty for other studies.
        looked: Smaller numbers of seeds with which the study had an answer before, without looks that were fixed in advance.
        search: The course of a search; None for a grid. Its cells are those with confirmed settings, and it has no questions:
            the search compared the levels of an axis at unequal settings.
        unscored: Why no cell has a score, as a sentence; empty if one has.
    """

    study: str
    measure: str
    images: int
    units: int
    units_planned: int
    models: bool
    decides: bool
    covers_seeds: bool
    covers_images: bool
    matters: float
    cells: tuple[CellAnswer, ...]
    chosen: str | None
    questions: tuple[Question, ...]
    scores: StudyScores
    limits: Limits
    level_labels: Mapping[str, Mapping[str, str]]
    design: Design
    looks: tuple[int, ...] = ()
    looked: tuple[int, ...] = ()
    search: SearchView | None = None
    unscored: str = "No confirmed run has finished, so nothing can be said."

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """The answer in words: which cells may be the best, what the first compared axis gains, and what limits both."""
        from segsweep.report.answer.sentences import sentences

        return tuple(sentences(self))

    def __str__(self) -> str:
        return " ".join(self.sentences)

    def _repr_html_(self) -> str:
        from segsweep.report.notebook import answer_html

        return answer_html(self)

    @property
    def confirmed(self) -> tuple[CellAnswer, ...]:
        """The cells with at least one finished confirmed run on all test images."""
        return tuple(cell for cell in self.cells if cell.units)

    @property
    def best(self) -> tuple[CellAnswer, ...]:
        """The cells among which the best one is, with a probability of 95 %. All, if the seeds do not decide it."""
        return tuple(cell for cell in self.confirmed if cell.beaten_by is None)

    def cell(self, name: str) -> CellAnswer:
        """Return a cell by name. Raises `StopIteration` for an unknown name."""
        return next(cell for cell in self.cells if cell.cell == name)

    def level(self, axis: str, level: str) -> str:
        """Return the label of a level of a compared axis."""
        return self.level_labels.get(axis, {}).get(level, level)


def answer_of(records: Records, measure: str = "iou", matters: float = MATTERS) -> Answer:
    """Return the answer of a study; see `segsweep.report.answer.scores.study_scores` for the measures.

    A study without finished confirmed runs, or with records before schema 2, has an answer without scores.
    """
    scores = study_scores(records, measure)
    planned = int(records.study["source_seeds"]) if scores.models else int(records.study["seeds"])
    search = search_view(records)
    found = answer_from(design_of(records), scores, planned, _limits(records, scores), matters)
    return replace(
        found,
        study=str(records.study["name"]),
        looks=tuple(records.study.get("looks") or ()),
        looked=tuple(records.study.get("looked") or ()),
        chosen=_chosen(records, scores.cells),
        questions=found.questions if search is None else (),
        search=search,
        unscored="" if scores.cells else _unscored(records, measure),
    )


def answer_from(design: Design, scores: StudyScores, planned: int, limits: Limits, matters: float = MATTERS) -> Answer:
    """Return an answer from scores; `planned` is the number of units in the declaration, `matters` the least difference."""
    beaten = beaten_by(scores)
    engine = scores.engine(scores.cells) if scores.cells else None
    covers_seeds = any(len(units) > 1 for units in scores.by_cell.values()) or len(scores.folds) > 1
    labels = {axis: level_labels(design, axis) for axis in design.axes}
    names = cell_labels(design, labels)
    return Answer(
        study="",
        measure=scores.measure,
        images=scores.images,
        units=len(engine.units) if engine else 0,
        units_planned=planned,
        models=scores.models,
        decides=beaten is not None and len(scores.cells) > 1,
        covers_seeds=covers_seeds,
        covers_images=scores.images != 1 or len(scores.folds) > 1,
        matters=matters,
        cells=tuple(
            CellAnswer(cell, names[cell], *_own(scores, cell, covers_seeds), (beaten or {}).get(cell)) for cell in design.cells
        ),
        chosen=None,
        questions=tuple(questions(design, scores, planned, matters)),
        scores=scores,
        limits=limits,
        level_labels=labels,
        design=design,
    )


def _own(scores: StudyScores, cell: str, covers_seeds: bool) -> tuple[float, float, tuple[float, ...], tuple[int, ...]]:
    """Return the estimate, the half-width, the scores per unit, and the units of one cell."""
    engine = scores.engine([cell]) if cell in scores.cells else None
    if engine is None:
        return float("nan"), float("nan"), (), ()
    weights = engine.weights({cell: 1.0})
    found = engine.contrasts.estimates(weights)
    per_unit: Floats = weights @ engine.per_unit
    covers = engine.contrasts.freedom or (engine.contrasts.covers_images and not covers_seeds)
    half = float(found.half[0]) if covers else float("nan")
    return float(found.estimate[0]), half, tuple(per_unit.tolist()), engine.units


def _unscored(records: Records, measure: str) -> str:
    """Return why no cell has a score, as a sentence."""
    runs = len(confirmed_runs(records))
    if not runs:
        return "No confirmed run has finished, so nothing can be said."
    if records.counts.empty and measure not in OF_IMAGES:
        have = "1 finished confirmed run has" if runs == 1 else f"{runs} finished confirmed runs have"
        return f"{have} no counts per image, as in records before schema 2, so no interval can be given."
    return "The finished confirmed runs have no test image in common that defines the measure, so nothing can be said."


def _chosen(records: Records, cells: Sequence[str]) -> str | None:
    """Return the cell whose runs have the best mean validation reading, None without finished runs."""
    runs = confirmed_runs(records)
    runs = runs[runs["cell"].isin(cells)]
    if runs.empty:
        return None
    means = runs.groupby("cell", sort=False)[["val_iou", "val_loss", "val_dice"]].mean().reset_index()
    same = runs.drop_duplicates("cell")[["cell", "keep", "loss"]]
    return str(best_first(means.merge(same, on="cell"))["cell"].iloc[0])


def _limits(records: Records, scores: StudyScores) -> Limits:
    trials, choices = records.trials, records.choices.values()
    confirmed: pd.DataFrame = trials[trials["phase"] == "confirm"]
    folds = folds_of(records.study["target"]["protocol"])
    return Limits(
        models_per_source=int(records.study["source_seeds"]) if len(trained_stages(records)) else 0,
        folds=len(folds.numbers) if folds else 0,
        at_edge=len({choice["cell"] for choice in choices if choice["at_edge"]}),
        failed=int(confirmed["status"].isin(["failed", "skipped"]).sum()),
        tuned=bool(records.study["tune"]),
        few_images=0 < scores.images < FEW_IMAGES,
    )
