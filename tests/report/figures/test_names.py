"""Lines and panels of figures: names that distinguish all cells that differ."""

from drawn_study import Drawn

from segsweep.report.answer.labels import level_labels
from segsweep.report.answer.matching import Design
from segsweep.report.figures import Names

CELLS = {
    "a": {"source": "random", "transfer": "none", "ema": "none"},
    "b": {"source": "random", "transfer": "none", "ema": "0.9"},
    "c": {"source": "supervised:city@48", "transfer": "encoder", "ema": "none"},
    "d": {"source": "supervised:city@48", "transfer": "all", "ema": "none"},
    "e": {"source": "supervised:near@48", "transfer": "encoder", "ema": "none"},
}


def names(cells: dict[str, dict[str, str]]) -> Names:
    axes = tuple(next(iter(cells.values())))
    levels = {axis: tuple(dict.fromkeys(own[axis] for own in cells.values())) for axis in axes}
    design = Design(axes, cells, levels)
    return Names(design, {axis: level_labels(design, axis) for axis in axes})


def test_a_source_with_two_transfers_has_two_lines() -> None:
    """Axes of the source distinguish only its own cells; other axes are for panels."""
    found = names(CELLS)
    assert list(found.lines().values()) == ["random weights"] * 2 + ["city, transfer encoder", "city, transfer all", "near"]
    assert list(found.panels("source").values()) == ["ema none", "ema 0.9", "ema none", "ema none", "ema none"]


def test_lines_and_panels_together_distinguish_all_cells() -> None:
    """For every axis that lines can have, two cells never share both line and panel."""
    found = names(CELLS)
    for axis in ("source", "ema", "transfer"):
        pairs = list(zip(found.lines(axis).values(), found.panels(axis).values(), strict=True))
        assert len(set(pairs)) == len(CELLS), axis


def test_an_axis_that_is_not_compared_gives_one_line() -> None:
    """All cells then have the same name, and a panel for each combination of the axes."""
    found = names(CELLS)
    assert set(found.lines("architecture").values()) == {"all cells"}
    assert len(set(found.panels("architecture").values())) == len(CELLS)


def test_names_follow_the_declaration() -> None:
    """Labels of cells and levels are those of the answer."""
    found = Names.of(Drawn({"source": ["random", "supervised:near"], "fraction": [0.5, 1.0]}).records())
    assert list(found.cells().values()) == [
        "random weights, fraction 0.5",
        "random weights, all training images",
        "near, fraction 0.5",
        "near, all training images",
    ]
