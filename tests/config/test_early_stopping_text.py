"""Early-stopping rules as texts of a command line."""

import pytest

from segsweep.config import PerCellASHA, PerCellMedian, PerCellRacing
from segsweep.config.early_stopping import parse_early_stopping
from segsweep.errors import UserError


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("none", None),
        ("None", None),
        ("asha", PerCellASHA()),
        ("asha()", PerCellASHA()),
        ("asha(grace_epochs=2,reduction_factor=4)", PerCellASHA(2, 4)),
        ("asha(reduction_factor=2)", PerCellASHA(reduction_factor=2)),
        ("median( grace_epochs=2, min_trials=5 )", PerCellMedian(2, 5)),
        ("racing", PerCellRacing()),
        ("racing(margin=0.01)", PerCellRacing(0.01)),
        ("racing(margin=1e-2,grace_epochs=3)", PerCellRacing(0.01, grace_epochs=3)),
    ],
)
def test_a_rule_has_a_text(text, rule):
    """A rule is named with or without parameters; omitted ones have their defaults; `none` disables early stopping."""
    assert parse_early_stopping(text) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hyperband", "early_stopping='hyperband'"),
        ("", "early_stopping=''"),
        ("asha(", r"early_stopping='asha\('"),
        ("none(grace_epochs=1)", r"early_stopping='none\(grace_epochs=1\)'"),
        ("asha(rungs=2)", "'rungs=2' is not a parameter NAME=NUMBER"),
        ("asha(2,3)", "'2' is not a parameter NAME=NUMBER"),
        ("asha(grace_epochs=two)", "'grace_epochs=two' is not a parameter"),
        ("asha(grace_epochs=1,grace_epochs=2)", "'grace_epochs=2' is not a parameter"),
        ("asha(grace_epochs=1,)", "'' is not a parameter"),
    ],
)
def test_a_wrong_text_is_refused_with_the_allowed_rules(text, message):
    """An unknown rule or parameter raises one line that names it and lists every rule with its parameters."""
    with pytest.raises(UserError, match=message) as raised:
        parse_early_stopping(text)
    allowed = (
        "allowed are none, asha(grace_epochs=1,reduction_factor=3), median(grace_epochs=1,min_trials=3), racing(margin=0.003,"
    )
    assert allowed in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["asha(grace_epochs=0)", "asha(grace_epochs=1.5)", "racing(margin=-1)", "racing(margin=nan)"])
def test_values_out_of_range_are_refused(text):
    """A value out of range raises an error with the allowed range."""
    with pytest.raises(UserError, match=r"early_stopping='.*: PerCell.*needs"):
        parse_early_stopping(text)
