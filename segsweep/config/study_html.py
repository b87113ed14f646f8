"""A declared study as HTML, for notebooks: its target, axes with their roles, cells and numbers of trials."""

from html import escape
from math import prod
from typing import TYPE_CHECKING

from segsweep.config.space import DRAWN, Choice, all_listed

if TYPE_CHECKING:
    from segsweep.config.study import Study


def study_html(study: "Study") -> str:
    """Return a study as HTML, with all names escaped. Trials are counted without early stopping."""
    cells = list(study.cells())
    runs = sum(len(study.folds(settings)) for _, settings in cells)
    tuning, confirmed, verb = runs * tuning_count(study), runs * study.seeds, "tune"
    if study.search is not None:
        tuning, confirmed, verb = study.search.trials, min(study.search.confirm, len(cells)) * study.seeds, "search"
    target = f"{study.target_name} ({study.target.protocol})"
    rows = "".join(
        f"<tr><td>{escape(axis)}</td><td>{role}</td><td>{escape(values)}</td></tr>" for axis, role, values in _axes(study)
    )
    names = "".join(f"<li>{escape(name)}</li>" for name, _ in cells)
    return (
        f"<p><b>Study {escape(study.name)}</b>: target {escape(target)}</p>"
        f"<table><tr><th>axis</th><th>role</th><th>values</th></tr>{rows}</table>"
        f"<details><summary>{_count(len(cells), 'cell')}, {_count(tuning + confirmed, 'trial')} "
        f"({tuning} to {verb}, {confirmed} to confirm)</summary><ul>{names}</ul></details>"
    )


def tuning_count(study: "Study") -> int:
    """Return the number of tuning trials of each cell: all listed combinations, or `trials_per_cell` points of ranges."""
    if not study.tune:
        return 0
    listed = prod(len(tuned.values) for tuned in study.tune.values() if isinstance(tuned, Choice))
    if all_listed(study.tune):
        return min(study.trials_per_cell or listed, listed)
    return study.trials_per_cell or DRAWN


def _axes(study: "Study") -> list[tuple[str, str, str]]:
    """Return the name, the role and the values of every axis; compared axes of several grids have one row per grid."""
    several = len(study.grids) > 1
    compared = [
        (axis, f"compared, grid {number}" if several else "compared", ", ".join(map(str, values)))
        for number, grid in enumerate(study.grids, start=1)
        for axis, values in grid.items()
    ]
    tuned = [(axis, "tuned", str(tuned)) for axis, tuned in study.tune.items()]
    return [*compared, *tuned, *((axis, "fixed", str(value)) for axis, value in study.fixed.items())]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
