"""Figures of an answer as files."""

import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from drawn_study import Drawn
from recorded_study import recorded

from segsweep.errors import UserError
from segsweep.report.answer.answer import Answer, answer_of
from segsweep.report.figures.files import write_figures

HOSTILE = r"near $\frac{ <b> & %"


@pytest.fixture(scope="module")
def answer() -> Answer:
    """The answer of a drawn study with two compared axes, of which one level looks like a formula and like markup."""
    return answer_of(recorded(Drawn({"source": ["random", HOSTILE], "freeze": ["none", "encoder"]}, images=8)))


def test_every_question_and_the_scores_are_drawn(answer: Answer, tmp_path: Path) -> None:
    """There is one figure of the scores and one per compared axis, as well-formed SVG and as PDF, with any names."""
    files = write_figures(answer, tmp_path / "figures")
    names = {f"{stem}.{kind}" for stem in ("scores", "differences-source", "differences-freeze") for kind in ("svg", "pdf")}
    assert {file.name for file in files} == {file.name for file in (tmp_path / "figures").iterdir()} == names
    for file in files:
        if file.suffix == ".svg":
            assert ElementTree.parse(file).getroot().tag.endswith("svg")
        else:
            assert file.read_bytes().startswith(b"%PDF")


def test_equal_answers_give_equal_files(answer: Answer, tmp_path: Path) -> None:
    """Files do not depend on the time at which they are written."""
    one, two = (write_figures(replace(answer, questions=()), tmp_path / name) for name in ("one", "two"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_a_study_without_results_has_no_figures(answer: Answer, tmp_path: Path) -> None:
    """Without a finished confirmed run, one line states that there is nothing to draw, and nothing is written."""
    empty = replace(answer, cells=(), questions=())
    with pytest.raises(UserError, match=r"^--figures: study drawn has no finished confirmed run yet"):
        write_figures(empty, tmp_path / "figures")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_remedy_is_named(answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where matplotlib is not installed, one line names what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"^--figures: matplotlib is not installed; install segsweep\[analysis\]"):
        write_figures(answer, tmp_path)
