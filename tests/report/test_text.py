"""The report as text: the answer, a table of at most 80 columns, and its legend."""

from dataclasses import replace

import pytest
from drawn_study import Drawn

from segsweep.report.answer.answer import answer_of
from segsweep.report.answer.table import answer_table
from segsweep.report.layout import Column, fitted
from segsweep.report.text import table_text

SOURCES = {"source": ["random", "supervised:near", "supervised:far"], "freeze": ["none", "encoder"]}
BEST = "source=supervised:near freeze=none"


def table_of(text: str, measure: str = "IoU") -> list[str]:
    """The lines of the table: from its headings to the empty line."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if "95 %" in line and measure in line and "interval" not in line)
    return lines[start : lines.index("", start)]


def test_the_answer_opens_the_text_and_the_table_marks_the_best() -> None:
    """The sentences precede the table, in which the best cell alone has the mark, and each cell its interval."""
    text = table_text(Drawn(SOURCES, {BEST: 0.7}).records())
    assert text.index("is best") < text.index("95 %  best")
    headings, *rows = table_of(text)
    assert headings.split()[:5] == ["source", "freeze", "IoU", "95", "%"]
    assert [row.split()[0] for row in rows if "*" in row] == ["near"]
    assert all(" to " in row for row in rows)


@pytest.mark.parametrize("length", [5, 20, 60, 200])
def test_every_line_of_the_table_fits_80_columns(length: int) -> None:
    """Long names move to lines of their own; the numbers of every cell stay on one line."""
    sources = ["random", f"supervised:{'a' * length}", f"simclr:{'b' * length}"]
    lines = table_of(table_text(Drawn({"source": sources, "freeze": ["none", "encoder"]}).records()))
    assert max(map(len, lines)) <= 80
    assert sum(" to " in line for line in lines) == 6


def test_one_seed_has_intervals_over_images_and_no_mark() -> None:
    """The legend says that the intervals leave out seeds, and no cell has the mark of the best."""
    text = table_text(Drawn(SOURCES, {BEST: 0.7}, seeds=1).records())
    assert "over\ntest images, not seeds" in text or "over test images, not seeds" in text.replace("\n", " ")
    assert not any("*" in line for line in table_of(text))


def test_a_single_cell_is_not_marked_as_best() -> None:
    """A mark that no other cell could have taken says nothing."""
    one = table_text(Drawn({"source": ["random"]}).records())
    assert "*" not in one
    _, *others = Drawn(SOURCES).cells()
    alone = table_text(Drawn(SOURCES, missing={(cell, seed) for cell in others for seed in (1, 2, 3)}).records())
    assert not any("*" in line for line in table_of(alone))


def test_without_intervals_no_legend_explains_them() -> None:
    """Records without counts have neither the column of intervals nor its legend, and keep their mean IoU."""
    records = Drawn(SOURCES).records()
    text = table_text(replace(records, counts=records.counts[:0]))
    assert "95 %" not in text
    assert f"{100 * records.trials['test_iou'][:3].mean():.1f}" in text


def test_the_score_lies_in_its_interval() -> None:
    """With two source models of unequal numbers of runs, the table has the mean over models, which the interval is about."""
    drawn = Drawn(SOURCES, seeds=6, source_seeds=2, of_seed=0.1, missing={("source=random freeze=none", seed) for seed in (4, 6)})
    records = drawn.records()
    cell = answer_of(records).cells[0]
    (score, low, high), *_ = answer_table(records, answer_of(records))[["score", "low", "high"]].to_numpy()
    assert (score, low < score < high) == (cell.estimate, True)
    assert cell.estimate - records.trials.loc[records.trials["cell"] == cell.cell, "test_iou"].mean() > 0.02
    assert f"{100 * cell.estimate:.1f}" in table_of(table_text(records))[1]


def test_a_measure_of_the_answer_is_that_of_the_table() -> None:
    """The table of another measure has its scores and names it."""
    records = Drawn(SOURCES).records()
    answer = answer_of(records, "recall")
    headings, first, *_ = table_of(table_text(records, answer), "recall")
    assert headings.split()[2] == "recall"
    assert f"{100 * answer.cells[0].estimate:.1f}" in first


def test_columns_leave_by_priority_and_are_named() -> None:
    """Columns of the largest priority number leave first; an empty column leaves unnamed."""
    columns = [
        Column("name", ["a", "b"], right=False),
        Column("first", ["1", "2"]),
        Column("second", ["1" * 10, "2"], priority=1),
        Column("third", ["1" * 10, "2"], priority=2),
        Column("empty", ["", ""], priority=1),
    ]
    assert fitted(columns, 30) == (["name  first      second", "a         1  1111111111", "b         2           2"], ["third"])
    assert fitted(columns, 80)[1] == []
    assert fitted(columns, 20)[1] == ["third", "second"]
