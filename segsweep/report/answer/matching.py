"""Levels of compared axes, their reference levels, and the pairs of cells that differ in one axis alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.cells import compared_axes, follows_source, having

PREFERRED = {"source": "random", "freeze": "none"}  # reference levels, where the study has them
LARGEST = ("fraction", "dev_share")  # axes whose reference level is the largest

Pair = tuple[str, str]  # a cell, and the matched cell at the reference level


def cells_of(records: Records) -> pd.DataFrame:
    """Return one row per cell of the present declaration with its settings, in the declared order."""
    cells = records.trials.drop_duplicates("cell").set_index("cell", drop=False)
    return cells.loc[[cell for cell in records.study["cells"] if cell in cells.index]]


def levels(records: Records, axis: str) -> list[Any]:
    """Return the levels of a compared axis in the order of the declaration."""
    declared = [value for grid in records.study["compare"] for value in grid.get(axis, ())]
    present = cells_of(records)[axis]
    ordered = [value for value in dict.fromkeys(declared) if len(having(present.to_frame(), {axis: value}))]
    rest = [None if pd.isna(value) else value for value in present.unique() if not any(_same(value, each) for each in ordered)]
    return [*ordered, *rest]


def reference_level(records: Records, axis: str) -> Any:
    """Return the level that others are compared with: `random`, `none`, the largest fraction, or the first level."""
    found = levels(records, axis)
    if axis in LARGEST:
        return max(found, key=lambda value: np.inf if value is None else float(value))
    return PREFERRED[axis] if PREFERRED.get(axis) in found else found[0]


def level_text(value: object) -> str:
    """Return a level as text."""
    if value is None or pd.isna(value):  # type: ignore[call-overload]  # a scalar
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def matched(cells: pd.DataFrame, axis: str, records: Records) -> dict[str, list[Pair]]:
    """Return the pairs of each level of an axis: cells at the level, each with the one cell at the reference that matches it.

    Matched cells are equal on all other compared axes. Axes that describe a source may differ where the source differs.
    """
    reference = reference_level(records, axis)
    others = [other for other in compared_axes(records) if other != axis and not (axis == "source" and follows_source(other))]
    at_reference, found = having(cells, {axis: reference}), {}
    for level in levels(records, axis):
        if not _same(level, reference):
            rows = having(cells, {axis: level})
            partners = [
                having(at_reference, {other: row[other] for other in others})["cell"].tolist() for _, row in rows.iterrows()
            ]
            found[level_text(level)] = [
                (str(cell), str(partner[0])) for cell, partner in zip(rows["cell"], partners, strict=True) if len(partner) == 1
            ]
    return found


def _same(one: object, other: object) -> bool:
    return level_text(one) == level_text(other)


def pair_weights(pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the weights of the mean difference over pairs of cells."""
    weights: dict[str, float] = {}
    for cell, partner in pairs:
        weights[cell] = weights.get(cell, 0.0) + 1 / len(pairs)
        weights[partner] = weights.get(partner, 0.0) - 1 / len(pairs)
    return weights
