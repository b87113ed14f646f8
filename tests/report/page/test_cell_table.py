"""The table of cells: complete without a script, and marked for it."""

import page_samples as samples
from parsed_markup import parsed, texts, with_class

from segsweep.report.page.cell_table import cell_table


def test_the_table_names_rows_and_columns() -> None:
    """Every cell has a row headed by its first setting; every column but the bar has a header button and a key for filters."""
    root = parsed(cell_table(samples.cell_rows()))
    table = root.find(".//table")
    assert table is not None
    keys = [head.get("data-key") for head in table.findall("thead//th")]
    assert keys == ["source", "freeze", "iou", "low", "verdict", None, "learning_rate", "cost"]
    rows = table.findall("tbody/tr")
    assert [len(row) for row in rows] == [len(keys)] * 5
    assert all(row[0].tag == "th" and row[0].get("scope") == "row" for row in rows)


def test_cells_hold_exact_values_for_sorting_and_copies() -> None:
    """Shown numbers are rounded; the attributes hold the value, and both ends of the interval."""
    row = parsed(cell_table(samples.cell_rows())).findall(".//tbody/tr")[1]
    score, interval = row[2], row[3]
    assert (texts(score), score.get("data-v")) == ("41.0", "41")
    assert (texts(interval), interval.get("data-v"), interval.get("data-high")) == ("39.0–43.0", "39", "43")
    assert (texts(row[6]), row[6].get("data-v")) == ("0.01*", "0.01")


def test_the_best_are_marked_by_words_and_filled_bars() -> None:
    """Only the cell among the best has a filled point; a cell without runs has no bar and says why."""
    rows = parsed(cell_table(samples.cell_rows())).findall(".//tbody/tr")
    filled = [bool(row.findall(".//circle")) and not with_class(row, "hollow") for row in rows]
    assert filled == [False, False, False, True, False]
    assert ["among the best" in texts(row) for row in rows] == filled
    assert "failed" in texts(rows[4])


def test_a_hostile_source_is_text() -> None:
    """A source called like a script makes no element."""
    made = cell_table(samples.cell_rows())
    assert "<script" not in made
    assert samples.HOSTILE in texts(parsed(made))
