"""The page of a study: its sections in order, and every kind of study."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from drawn_study import Drawn
from parsed_markup import Node, parsed, texts, with_class
from recorded_study import recorded, with_statuses

from segsweep.records import Records
from segsweep.report.answer.answer import answer_of
from segsweep.report.answer.sentences import sentences
from segsweep.report.page.study_page import study_page

GRID = {"source": ["random", "supervised:near", "supervised:far"], "freeze": ["none", "encoder"]}
NEAR = "source=supervised:near freeze=none"
HOSTILE = "<script>alert(1)</script>"
VERDICTS = r"\b(best|better|gains|loses|lower|no difference)\b"


@cache
def usual_page() -> Node:
    """Return the page of six cells with three seeds, of which none is much better."""
    return parsed(study_page(recorded(Drawn(GRID))))


def headings(page: Node) -> list[str]:
    return [section.get("id", "") for section in page.iter("section")]


def section(page: Node, ident: str) -> Node:
    return next(node for node in page.iter("section") if node.get("id") == ident)


def test_sections_follow_the_order_of_questions() -> None:
    """The answer opens the page; table, axes, data, cost, tuning, training, confusion, limits and repetition follow."""
    drawn = Drawn({**GRID, "fraction": [0.5, 1.0]}, {NEAR: 0.6})
    records = recorded(drawn)
    page = parsed(study_page(records))
    answer = with_class(page, "answer")[0]
    assert [texts(node) for node in answer] == sentences(answer_of(records))
    order = ["cells", "axis-source", "axis-freeze", "axis-fraction", "data", "cost", "tuning", "curves", "confusion", "coverage"]
    assert [ident for ident in headings(page) if ident != "next"] == [*order, "reproduce"]


def test_a_dependence_is_shown_by_stratum() -> None:
    """A source that gains only with nothing frozen has a chart per freeze policy; otherwise a sentence bounds the dependence."""
    found = section(parsed(study_page(Drawn(GRID, {NEAR: 0.8}).records())), "axis-source")
    assert "It depends on freeze" in texts(found)
    assert [texts(node) for node in found.iter("h4")] == ["nothing frozen", "encoder frozen"]
    flat = section(usual_page(), "axis-source")
    assert re.search(r"No sign that it depends on freeze \(up to \d+\.\d points between its levels are possible\)", texts(flat))


def test_the_table_has_costs_choices_and_speed() -> None:
    """A cell's row has its chosen rate with the mark of an edge, trainable parameters, time per image, cost and runs."""
    page = usual_page()
    head = [texts(node) for node in page.findall(".//table[@class='cells']/thead//th[@data-key]")]
    assert head == ["source", "freeze", "IoU", "95 %", "verdict", "lr", "trainable", "ms/image", "GPU-h", "runs"]
    row = [texts(node) for node in page.findall(".//table[@class='cells']/tbody/tr")[0]]
    assert row[6:] == ["0.0001*", "2.0 M of 8.0 M", "10.0", "0.70", "3 of 3"]


def test_stopped_trials_are_expected_to_gain_as_the_finished_ones_did() -> None:
    """A trial stopped at epoch 2 with 0.2, where finished ones went on from 0.2 to 0.6, is expected to reach 0.6."""
    shown = texts(section(usual_page(), "tuning"))
    assert "0.01: 20.0, stopped after epoch 2, expected 60.0" in shown
    assert "6 cells chose a value at the edge" in shown


def test_a_running_study_says_how_far_it_is() -> None:
    """With cells that still run, a status counts the confirmed cells and warns that what follows may change."""
    records = recorded(Drawn(GRID, missing={(NEAR, seed) for seed in (1, 2, 3)}))
    waiting = with_statuses(records, {f"{NEAR} {seed}": "not_run" for seed in (1, 2, 3)})
    status = [texts(node) for node in with_class(parsed(study_page(waiting)), "status")]
    assert status == ["5 of 6 cells confirmed; what follows may change."]
    assert not with_class(usual_page(), "status")


def failed_cell() -> Records:
    records = recorded(Drawn(GRID, missing={(NEAR, seed) for seed in (1, 2, 3)}))
    trials = records.trials.copy()
    trials.loc[trials["status"] == "failed", "error"] = f"out of memory {HOSTILE}"
    return replace(records, trials=trials)


STUDIES: dict[str, Callable[[], Records]] = {
    "one seed": lambda: recorded(Drawn(GRID, seeds=1)),
    "one cell": lambda: recorded(Drawn({"source": ["random"]})),
    "one cell and seed": lambda: recorded(Drawn({"source": ["random"]}, seeds=1)),
    "failed cell": failed_cell,
    "nothing yet": lambda: Drawn(GRID, missing={(cell, seed) for cell in Drawn(GRID).cells() for seed in (1, 2, 3)}).records(),
    "hostile names": lambda: recorded(
        Drawn({"source": ["random", f"supervised:{HOSTILE}", "x" * 300], "freeze": ["none", "\x00\u202e\"'&"]})
    ),
    "no records but of the test": lambda: Drawn(GRID).records(),
    "architectures": lambda: recorded(Drawn({"architecture": ["unet", "fcn"], "dev_share": [0.1, 0.2]})),
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_a_page(name: str) -> None:
    """The page is well-formed, has one script, and a row per cell."""
    records = STUDIES[name]()
    made = study_page(records)
    page = parsed(made)
    assert made.count("<script") == 1
    assert len(page.findall(".//table[@class='cells']/tbody/tr")) == len(records.study["cells"])
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", texts(page))


def test_the_reason_of_a_failed_cell_is_text() -> None:
    """A cell without a result shows why, even if the reason looks like a script."""
    rows = parsed(study_page(failed_cell())).findall(".//table[@class='cells']/tbody/tr")
    assert f"out of memory {HOSTILE}" in texts(rows[-1])


def test_one_seed_gives_no_verdict() -> None:
    """Without a second seed no cell is best, nothing gains, no marker is filled, and the intervals are dashed."""
    page = parsed(study_page(recorded(Drawn(GRID, {NEAR: 0.8}, seeds=1))))
    assert not re.search(VERDICTS, texts(with_class(page, "answer")[0]))
    forests = with_class(page, "forest")
    assert forests
    assert all("dashed" in node.get("class", "") for node in forests)
    assert all("hollow" in (circle.get("class") or "") for node in forests for circle in node.iter("circle"))
    assert "verdict" not in [node.get("data-key") for node in page.findall(".//table[@class='cells']/thead//th")]


def test_what_would_decide_names_the_setting_and_the_price() -> None:
    """An undecided difference that a few more seeds would decide is listed with the number of seeds and the time."""
    page = parsed(study_page(recorded(Drawn(GRID, {NEAR: 0.52}, of_seed=0.012, random_state=0))))
    line = r"(.+) against (.+): (\d+) more seeds? per cell, about .+ of one device: --set seeds=(\d+)"
    found = re.fullmatch(line, texts(section(page, "next").findall(".//li")[0]))
    assert found is not None
    assert int(found[4]) == 3 + int(found[3])


def test_published_numbers_are_marked_and_their_set_up_compared() -> None:
    """A published number is a diamond in the bar and a column; differences in set-up are a list."""
    run = {"name": "near, fine-tuned", "cell": {"source": "supervised:near", "freeze": "none"}, "measures": {"test_iou": 0.61}}
    published = {"where": "A paper, Table 2", "runs": [run], "note": "", "deviations": ["half the images"]}
    page = parsed(study_page(recorded(Drawn(GRID, study={"published": published}))))
    assert len(with_class(page, "pub")) == 1
    assert "61.0" in texts(section(page, "cells"))
    assert "half the images" in texts(section(page, "published"))


@pytest.mark.parametrize(("grid", "most_kB"), [({**GRID, "architecture": ["a", "b"], "fraction": [0.2, 0.5, 1.0]}, 300)])
def test_the_page_of_36_cells_is_small(grid: dict[str, list[object]], most_kB: int) -> None:
    """Without images, 36 cells with all charts take less than 300 kB."""
    assert len(study_page(recorded(Drawn(grid, images=5))).encode()) < 1000 * most_kB
