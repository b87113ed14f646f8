"""The space of a search: the cells of a plan, chosen axis by axis, and the tuned axes inside each cell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from segsweep.config.setting_rules import DECIDED_BY
from segsweep.config.settings import Settings
from segsweep.config.space import Choice, Range
from segsweep.errors import UserError
from segsweep.sweep.plan import Cell, with_values

CHECKED = 4096  # combinations of listed values that are checked before a search starts
OF_SOURCES = ("source_", "ssl_")  # beginnings of the settings of sources


@dataclass(frozen=True)
class Dimension:
    """One decision of a search: a value of `axis` out of `tried`.

    Where earlier decisions leave only a part of an axis's values, `name` lists them: it is then a separate dimension.
    """

    name: str
    axis: str
    tried: Range


Choose = Callable[[Dimension], Any]  # -> the value


class OutsideError(Exception):
    """The settings of a trial do not lie in the space of a search."""


class SearchSpace:
    """All combinations that a search can try.

    Dimensions are conditional: a decision that earlier ones leave no choice for, or that would have no effect, is not asked.
    `tune` maps the tuned axes to their ranges.
    """

    def __init__(self, cells: Sequence[Cell], tune: Mapping[str, Range]) -> None:
        self._cells, self._tune = tuple(cells), dict(tune)
        self._axes = list(dict.fromkeys(axis for cell in cells for grid in cell.study.grids for axis in grid))
        self._levels = {axis: _distinct(cells, axis) for axis in self._axes}
        self._tuned = sorted(tune, key=lambda axis: axis in DECIDED_BY)  # stable: axes that decide on others come first

    def walk(self, choose: Choose) -> tuple[Cell, Settings]:
        """Return the cell and the settings that result from the decisions of `choose`, which is asked for each dimension."""
        cells = self._cells
        for axis in self._axes:
            levels = _distinct(cells, axis)
            if len(levels) > 1:
                part = "" if levels == self._levels[axis] else f" of {', '.join(map(str, levels))}"
                level = choose(Dimension(f"{axis}{part}", axis, Choice(levels)))
                cells = tuple(cell for cell in cells if getattr(cell.settings, axis) == level)
        (cell,) = cells
        values: dict[str, Any] = {}
        for axis in self._tuned:
            tried = self._tune[axis]
            if _has_effect(cell.settings, values, axis, tried):
                values[axis] = choose(Dimension(axis, axis, tried))
        return cell, with_values(cell.settings, **values)

    def locate(self, settings: Mapping[str, Any]) -> tuple[Cell, Settings, dict[Dimension, Any]]:
        """Return the cell, the settings and the decisions of a trial, given its settings as columns of its record.

        Raises `OutsideError` if no decisions lead to these settings. Settings of the source's training may differ, and columns
        that the record lacks are not compared.
        """
        decided: dict[Dimension, Any] = {}

        def choose(dimension: Dimension) -> Any:
            value = settings.get(dimension.axis)
            if not dimension.tried.contains(value):
                raise OutsideError
            decided[dimension] = value
            return value

        cell, found = self.walk(choose)
        for name, value in found.model_dump().items():
            if name in settings and not name.startswith(OF_SOURCES) and not _same(settings[name], value):
                raise OutsideError
        return cell, found, decided

    def check(self) -> None:
        """Raise `UserError` for listed values that contradict each other in some cell, as a grid would."""
        listed = {axis: tuned.samples() for axis, tuned in self._tune.items()}
        for cell in self._cells:
            for values in islice(product(*listed.values()), CHECKED):
                with_values(cell.settings, **dict(zip(listed, values, strict=True)))


def known_values(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among the columns of a record."""
    return {name: value for name, value in row.items() if name in Settings.model_fields}


def _distinct(cells: Sequence[Cell], axis: str) -> list[Any]:
    return list(dict.fromkeys(getattr(cell.settings, axis) for cell in cells))


def _has_effect(settings: Settings, values: Mapping[str, Any], axis: str, tried: Range) -> bool:
    """Return whether the settings depend on a tuned axis, given the values of the axes that were decided before."""
    results = []
    for value in tried.samples():
        try:
            results.append(with_values(settings, **{**values, axis: value}))
        except UserError:  # contradicts a default that a later decision replaces
            return True
    return any(result != results[0] for result in results)


def _same(recorded: Any, value: Any) -> bool:
    """Return whether a recorded setting equals a value; numbers of tables may be floats."""
    return bool(recorded == value) or (recorded is None and value is None)
