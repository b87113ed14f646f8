"""Records and answers as a notebook shows them."""

from dataclasses import replace

import pytest
from drawn_study import Drawn
from recorded_study import recorded, with_statuses

import segsweep
from segsweep.records import Records
from segsweep.records.views import view


@pytest.fixture(scope="module")
def records() -> Records:
    """A drawn study of four cells with two seeds."""
    compare = {"source": ["random", "near"], "freeze": ["none", "encoder"]}
    return recorded(Drawn(compare, {"source=near freeze=none": 0.6}, seeds=2, images=8))


def test_records_have_an_answer_and_a_summary(records: Records) -> None:
    """`answer` and `summary` are computed once; the summary has one row per cell with its interval."""
    assert records.answer is records.answer
    assert records.answer.study == "drawn"
    assert str(records.answer) == " ".join(records.answer.sentences)
    assert records.summary["cell"].tolist() == records.study["cells"]
    assert (records.summary["low"] <= records.summary["test_iou"]).all()


def test_a_view_is_no_table(records: Records) -> None:
    """The name of a view or of another field of records is not the name of a table."""
    assert len(records.summary)
    with pytest.raises(KeyError, match="summary"):
        records.table("summary")
    with pytest.raises(KeyError):
        view("nothing")


def test_records_as_html(records: Records) -> None:
    """The HTML has name, state, all sentences and one row per cell; the text names the study and its folder."""
    html = records._repr_html_()
    assert "<b>drawn</b>: finished, 24 of 24 trials done" in html
    assert html.count("<tr>") >= len(records.study["cells"])
    assert all(f"<p>{sentence}</p>" in html for sentence in records.answer.sentences)
    assert repr(records) == "Records of drawn in drawn: 24 trials"


def test_failures_are_counted(records: Records) -> None:
    """The HTML of a study that has not finished states how many trials are done and how many failed."""
    names = records.trials["trial_id"].tolist()
    troubled = with_statuses(records, {names[0]: "failed", names[1]: "running", names[2]: "not_run"})
    html = replace(troubled, all_trials=troubled.trials)._repr_html_()
    assert "<b>drawn</b>: running, 21 of 24 trials done, 1 failed" in html


def test_names_are_escaped(records: Records) -> None:
    """A name with markup is shown as text, in the title, the sentences and the table."""
    hostile = "<script>alert(1)</script>"
    trials = records.trials.assign(source=records.trials["source"].replace({"random": hostile}))
    compare = [{**grid, "source": [hostile, *grid["source"][1:]]} for grid in records.study["compare"]]
    study = {**records.study, "name": hostile, "compare": compare}
    html = replace(records, trials=trials, study=study)._repr_html_()
    assert html.count("&lt;script&gt;") >= 2
    assert "<script" not in html


def test_a_study_without_planned_trials_has_no_table(records: Records) -> None:
    """Between its declaration and its plan a study has no trials; it shows its state and that nothing can be said."""
    html = replace(records, trials=records.trials[:0])._repr_html_()
    assert "nothing can be said" in html
    assert "<table" not in html


def test_the_package_lists_its_names() -> None:
    """`dir(segsweep)` lists exactly the public names, also those that are imported on first use; each of them exists."""
    assert dir(segsweep) == sorted(segsweep.__all__)
    assert {"load", "main", "run", "Study"} <= set(dir(segsweep))
    assert segsweep.load is segsweep.records.load
