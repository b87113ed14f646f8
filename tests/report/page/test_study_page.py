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
from segsweep.records.start_prediction import StartPrediction
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
    """The answer opens the page; table, axes, data, what matters, cost, scores, tuning, training and the rest follow."""
    drawn = Drawn({"source": ["random", "supervised:near"], "freeze": ["none", "encoder"], "fraction": [0.5, 1.0]}, images=10)
    records = recorded(drawn)
    page = parsed(study_page(records))
    answer = with_class(page, "answer")[0]
    assert [texts(node) for node in answer] == sentences(answer_of(records))
    axes, charts = ["axis-source", "axis-freeze", "axis-fraction"], ["data", "matters", "cost", "why", "tuning", "curves"]
    order = ["cells", *axes, *charts, "confusion", "coverage", "reproduce"]
    assert [ident for ident in headings(page) if ident != "next"] == order


def test_a_dependence_is_shown_by_stratum() -> None:
    """A source that gains only with nothing frozen has a chart per freeze policy; otherwise a sentence bounds the dependence."""
    found = section(parsed(study_page(Drawn(GRID, {NEAR: 0.8}).records())), "axis-source")
    assert "It depends on freeze" in texts(found)
    assert [texts(node) for node in with_class(with_class(found, "wide")[1], "group")] == ["nothing frozen", "encoder frozen"]
    flat = section(usual_page(), "axis-source")
    assert re.search(r"No sign that it depends on freeze \(up to \d+\.\d points between its levels are possible\)", texts(flat))


def test_the_table_has_costs_choices_and_speed() -> None:
    """A cell's row has its chosen rate with the mark of an edge, trainable parameters, time per image, cost and runs."""
    page = usual_page()
    head = [texts(node) for node in page.findall(".//table[@class='cells']/thead//th[@data-key]")]
    assert head == ["source", "freeze", "IoU", "95 %", "verdict", "lr", "trainable", "ms/image", "GPU-h", "runs"]
    row = [texts(node) for node in page.findall(".//table[@class='cells']/tbody/tr")[0]]
    assert row[6:] == ["0.0001*", "2.0 M of 8.0 M", "10.0", "0.70", "3 of 3"]


def test_tuning_is_shown_and_told() -> None:
    """A stopped trial has its reading and its prediction; edges and the cost of one rate for all cells are sentences."""
    shown = texts(section(usual_page(), "tuning"))
    assert "0.01: 15.0, stopped after epoch 2, expected 50.0" in shown
    assert "6 cells chose a value at the edge" in shown
    assert "With one learning rate for all cells, 0.0001, cells would have lost 0.0 points of validation IoU on average" in shown
    assert "The set of the best cells would have been the same." in shown


def test_shares_of_axes_and_of_chance_are_bars() -> None:
    """Each axis has a bar and the difference between its levels; chance is hatched and last."""
    found = section(
        parsed(study_page(Drawn(GRID, {NEAR: 0.7, "source=supervised:near freeze=encoder": 0.7}).records())), "matters"
    )
    names = [texts(node) for node in found.findall(".//details//tbody/tr/th")]
    assert (names[0], names[-1]) == ("source", "chance")
    bars = with_class(with_class(found, "wide")[0], "b")
    assert [bar.get("fill") is not None for bar in bars] == [False] * (len(bars) - 1) + [True]
    assert re.search(r"(far|random weights) to near", texts(found))


def test_the_worth_of_a_source_has_arrows_where_its_set_is_open() -> None:
    """A source that beats the reference with all numbers of images is worth more than the largest: its line ends in an arrow."""
    grid = {"source": ["random", "supervised:near"], "fraction": [0.25, 0.5, 1.0]}
    mean = {f"source=random fraction={share}": 0.4 + 0.1 * share for share in grid["fraction"]}
    found = section(parsed(study_page(recorded(Drawn(grid, {**mean, "source=supervised:near fraction=1.0": 0.7})))), "data")
    assert "With 1,000 images, near scores as random weights with more than 1,000 images" in texts(found)
    rows = [node for node in found.iter("g") if "scores as" in (node.findtext("title") or "")]
    assert len(rows) == 2 * 3  # three numbers of images, on wide and on narrow screens
    assert rows[2].find("path").get("d", "").count("l-7 4") == 1  # type: ignore[union-attr]


def test_scores_of_sources_stand_beside_their_gains() -> None:
    """One point per source, the reference at zero, and how many pairs the score orders as measured."""
    found = section(usual_page(), "why")
    points = [texts(node.find("title")) for node in with_class(found, "wide")[0].iter("g") if node.get("tabindex")]  # type: ignore[arg-type]
    assert [point.split(":")[0] for point in points] == ["random weights", "near", "far"]
    assert points[0].startswith("random weights: 0.0")
    assert re.search(r"LogME orders \d of 3 pairs of sources as measured", texts(found))
    with_one_seed = texts(section(parsed(study_page(recorded(Drawn(GRID, {NEAR: 0.9}, seeds=1)))), "why"))
    assert "decides" not in with_one_seed
    assert "upwards over test images, not seeds" in with_one_seed
    assert texts(found.findall(".//table")[-1].find("thead")) == "LogMEKIDimages"  # type: ignore[arg-type]


def test_a_plateau_of_one_trial_is_no_width() -> None:
    """Where no other finished trial comes near the best one, the page says so instead of a width of 0.0 decades."""
    records = recorded(Drawn(GRID))
    epochs = records.epochs.copy()
    epochs.loc[epochs["trial_id"].str.endswith("tune 1"), "val_iou"] *= 0.5
    shown = texts(section(parsed(study_page(replace(records, epochs=epochs))), "tuning"))
    assert "no neighbouring finished trial lies within 1 point of the best one" in shown
    assert "decades" not in shown


def test_captions_name_the_chance_that_intervals_cover() -> None:
    """Source models are not called seeds, and the table of one seed does not claim intervals over seeds."""
    lost = {("source=supervised:near", seed) for seed in (4, 8)}
    drawn = Drawn({"source": ["random", "supervised:near"]}, seeds=8, source_seeds=4, missing=lost)
    shown = texts(section(parsed(study_page(drawn.records())), "axis-source"))
    assert "95 % interval over source models and test images" in shown
    assert "near (3 of 4 source models)" in shown
    assert "over seeds" not in study_page(Drawn(GRID, seeds=1).records())


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
    "one cell and seed": lambda: recorded(Drawn({"source": ["random"]}, seeds=1)),
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


def test_records_without_counts_show_their_means() -> None:
    """Records of earlier versions have scores without intervals, and say why."""
    records = recorded(Drawn(GRID))
    row = parsed(study_page(replace(records, counts=records.counts[:0]))).findall(".//table[@class='cells']/tbody/tr")[0]
    assert (texts(row[3]), texts(row[4])) == ("", "no counts per image")
    assert float(texts(row[2])) == pytest.approx(50, abs=5)


def test_one_seed_gives_no_verdict() -> None:
    """Without a second seed no cell is best, nothing gains, no marker is filled, and the intervals are dashed."""
    page = parsed(study_page(recorded(Drawn(GRID, {NEAR: 0.8}, seeds=1))))
    assert not re.search(VERDICTS, texts(with_class(page, "answer")[0]))
    forests = with_class(page, "forest")
    assert forests
    assert all("dashed" in node.get("class", "") for node in forests)
    assert all("hollow" in (circle.get("class") or "") for node in forests for circle in node.iter("circle"))
    assert "verdict" not in [node.get("data-key") for node in page.findall(".//table[@class='cells']/thead//th")]


def test_what_would_decide_names_the_options_and_the_price() -> None:
    """An undecided difference that a few more seeds would decide is listed with the options and the time."""
    page = parsed(study_page(recorded(Drawn(GRID, {NEAR: 0.52}, of_seed=0.012, random_state=0))))
    line = texts(section(page, "next").findall(".//li")[0])
    assert re.search(r" against .*: about \d+ seeds would decide it .* of device time\): add --set seeds=\d+", line)


def test_published_numbers_are_marked_and_their_set_up_compared() -> None:
    """A published number is a diamond in the bar and a column; differences in set-up are a list."""
    run = {"name": "near, fine-tuned", "cell": {"source": "supervised:near", "freeze": "none"}, "measures": {"test_iou": 0.61}}
    published = {"where": "A paper, Table 2", "runs": [run], "note": "", "deviations": ["half the images"]}
    page = parsed(study_page(recorded(Drawn(GRID, study={"published": published}))))
    assert len(with_class(page, "pub")) == 1
    assert "61.0" in texts(section(page, "cells"))
    assert "half the images" in texts(section(page, "published"))


def test_the_page_shows_the_error_of_the_last_prediction() -> None:
    """Under "Reproduce" the page has what the last start with work predicted and took; nothing for earlier versions."""
    records = recorded(Drawn(GRID))
    took = StartPrediction(540.0, 720.0, 1020.0, 720.0, took_seconds=842.4)
    starts = [{"at": 1.0}, {"at": 2.0, **took.facts}, {"at": 3.0}]
    page = study_page(replace(records, study={**records.study, "starts": starts}))
    assert "Predicted 12 min (9.0 min to 17 min), took 14 min (+17 %)" in texts(section(parsed(page), "reproduce"))
    assert "Predicted" not in texts(section(usual_page(), "reproduce"))
