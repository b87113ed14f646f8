"""Comparison of two studies: cells matched by their settings, and differences where both tested on the same data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from segsweep.config.settings import Settings
from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer, CellAnswer, answer_of
from segsweep.report.answer.looks import level_of
from segsweep.report.answer.matching import level_text
from segsweep.report.answer.questions import MATTERS, Difference, family
from segsweep.report.answer.scores import StudyScores, study_scores
from segsweep.report.cells import compared_axes, confirmed_runs, reported_cells, tuned_axes

A, B = "A ", "B "  # beginnings of cell names and trial ids in the merged records
AVERAGE = "average"
TRUTH = ["image", "class", "true"]


@dataclass(frozen=True)
class CellPair:
    """Two cells of equal settings on all axes that either study compares.

    Attributes:
        levels: The settings by axis, as texts.
        one: The cell of the first study; `other` is that of the second.
        difference: The second cell's score minus the first's; None if they are not comparable, or without common units.
        obstacle: Why they are not comparable; None if they are.
    """

    levels: Mapping[str, str]
    one: CellAnswer
    other: CellAnswer
    difference: Difference | None
    obstacle: str | None


@dataclass(frozen=True)
class TwoStudies:
    """Two studies side by side.

    Attributes:
        one: Answer of the first study; `other` is that of the second.
        axes: Axes on which cells are matched: all that either study compares and neither tunes.
        pairs: The matched cells, in the order of the first study.
        average: The mean difference over all comparable pairs; None if there is none.
        only_one: Cells without a match in the first study; `only_other` in the second.
        set_up: Further settings in which the matched cells differ: name -> values in the first and in the second study.
    """

    one: Answer
    other: Answer
    axes: tuple[str, ...]
    pairs: tuple[CellPair, ...]
    average: Difference | None
    only_one: tuple[CellAnswer, ...]
    only_other: tuple[CellAnswer, ...]
    set_up: Mapping[str, tuple[str, str]]


def compare_studies(one: Records, other: Records, measure: str = "iou", matters: float = MATTERS) -> TwoStudies:
    """Return two studies side by side, with the differences of matched cells that were tested on the same data.

    Data are the same if the prepared target has the same key, and the same images have the same true pixels of every class.
    Records of earlier versions have no key of the target: there, images and pixels decide. Seeds or source models are paired.

    Args:
        one: Records of the first study.
        other: Records of the second study, whose scores minus those of the first are the differences.
        measure: A measure as for `segsweep.report.answer.scores.study_scores`.
        matters: Least difference that matters, as a share of the measure.
    """
    answers = answer_of(one, measure, matters), answer_of(other, measure, matters)
    axes = _axes(one, other)
    keys = [_by_levels(records, axes) for records in (one, other)]
    matched = [(levels, keys[0][levels], keys[1][levels]) for levels in keys[0] if levels in keys[1]]
    obstacles = [_obstacle(one, cell, other, partner) for _, cell, partner in matched]
    comparable = [(cell, partner) for (_, cell, partner), obstacle in zip(matched, obstacles, strict=True) if obstacle is None]
    scores = _common_scores(one, other, comparable, measure)
    planned = min(answer.units_planned for answer in answers)
    pairs = {cell: [(B + partner, A + cell)] for cell, partner in comparable}
    differences = {each.name: each for each in family(scores, pairs, planned, matters)}
    (average, *_) = (*family(scores, {AVERAGE: [each for (each,) in pairs.values()]}, planned, matters), None)
    return TwoStudies(
        *answers,
        axes=tuple(axes),
        pairs=tuple(
            CellPair(dict(zip(axes, levels, strict=True)), *_cells(answers, cell, partner), differences.get(cell), obstacle)
            for (levels, cell, partner), obstacle in zip(matched, obstacles, strict=True)
        ),
        average=average,
        only_one=_rest(answers[0], {cell for _, cell, _ in matched}),
        only_other=_rest(answers[1], {partner for _, _, partner in matched}),
        set_up=_set_up(one, other, matched, axes),
    )


def _axes(one: Records, other: Records) -> list[str]:
    """Return the axes that either study compares and neither tunes."""
    compared = dict.fromkeys((*compared_axes(one), *compared_axes(other)))
    return [axis for axis in compared if axis not in (*tuned_axes(one), *tuned_axes(other))]


def _by_levels(records: Records, axes: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Return the cells by their levels on the axes; levels that several cells share are left out."""
    first = records.trials.drop_duplicates("cell")
    rows = dict(zip(first["cell"], first.reindex(columns=list(axes)).itertuples(index=False), strict=True))
    levels = {cell: tuple(map(level_text, rows[cell])) for cell in reported_cells(records) if cell in rows}
    times = Counter(levels.values())
    return {key: cell for cell, key in levels.items() if times[key] == 1}


def _cells(answers: tuple[Answer, Answer], cell: str, partner: str) -> tuple[CellAnswer, CellAnswer]:
    return answers[0].cell(cell), answers[1].cell(partner)


def _rest(answer: Answer, matched: set[str]) -> tuple[CellAnswer, ...]:
    return tuple(cell for cell in answer.cells if cell.cell not in matched)


def _obstacle(one: Records, cell: str, other: Records, partner: str) -> str | None:
    """Return why the scores of two cells are not comparable; None if they are."""
    runs = [_runs(one, cell), _runs(other, partner)]
    if any(each.empty for each in runs):
        return "no finished run"
    if _models(runs[0]) == _models(runs[1]):
        return "the same runs in both"
    if one.study["source_seeds"] != other.study["source_seeds"]:
        return "different numbers of source models"
    if len({str(each["foreground"].iloc[0]) for each in runs}) > 1:
        return "different classes are measured"
    keys = [set(each["target_data"].dropna()) if "target_data" in each else set() for each in runs]
    if all(keys) and keys[0] != keys[1]:
        return "different target data"
    truths = _truth(one, runs[0]), _truth(other, runs[1])
    if any(truth.empty for truth in truths):
        return "no counts per image"
    return None if truths[0].equals(truths[1]) else "different test images"


def _runs(records: Records, cell: str) -> pd.DataFrame:
    of_cell = replace(records, trials=records.trials[records.trials["cell"] == cell])
    return confirmed_runs(of_cell)


def _models(runs: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the trials with the digests of their trained models."""
    return set(zip(runs["trial_id"], runs["model_hash"], strict=True))


def _truth(records: Records, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the true pixels of every class in every test image, by fold, from the first run of each fold."""
    first = runs.assign(fold=runs["fold"].fillna(0)).drop_duplicates("fold")[["trial_id", "fold"]]
    found = records.counts[records.counts["true"] > 0].merge(first, on="trial_id")
    return found[["fold", *TRUTH]].sort_values(["fold", *TRUTH], ignore_index=True)


def _common_scores(one: Records, other: Records, pairs: Sequence[tuple[str, str]], measure: str) -> StudyScores:
    """Return the scores of both studies' cells over their common images, as those of one study."""
    sides = ((A, one, {cell for cell, _ in pairs}), (B, other, {partner for _, partner in pairs}))

    def table(name: str) -> pd.DataFrame:
        kept = []
        for mark, records, cells in sides:
            rows = records.table(name)
            rows = rows[rows["cell"].isin(cells)]
            kept.append(rows.assign(cell=mark + rows["cell"], trial_id=mark + rows["trial_id"]))
        shared = [column for column in kept[0].columns if column in kept[1]]
        return pd.concat([rows[shared] for rows in kept], ignore_index=True)

    names = [mark + cell for mark, records, cells in sides for cell in records.study["cells"] if cell in cells]
    study = {**one.study, "cells": names}
    merged = replace(one, trials=table("trials"), counts=table("counts"), images=table("images"), study=study)
    return replace(study_scores(merged, measure), level=max(level_of(one.study), level_of(other.study)))


def _set_up(
    one: Records, other: Records, matched: Sequence[tuple[Any, str, str]], axes: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Return the settings outside the axes in which the confirmed runs of matched cells differ, and the numbers of seeds."""
    sides = [
        (one, pd.concat([_runs(one, cell) for _, cell, _ in matched]) if matched else one.trials.iloc[:0]),
        (other, pd.concat([_runs(other, cell) for _, _, cell in matched]) if matched else other.trials.iloc[:0]),
    ]
    names = [name for name in Settings.model_fields if name not in axes and all(name in runs for _, runs in sides)]
    values = {name: tuple(_values(runs[name]) for _, runs in sides) for name in names}
    declared = {name: tuple(level_text(records.study.get(name)) for records, _ in sides) for name in ("seeds", "trials_per_cell")}
    return {name: (first, second) for name, (first, second) in {**values, **declared}.items() if first != second}


def _values(column: "pd.Series[Any]") -> str:
    return ", ".join(sorted({level_text(value) for value in column}))
