"""Published numbers, and the listed deviations of a study that repeats them."""

import pytest

from segsweep.config.published_results import Published, PublishedRun, deviations_in
from segsweep.errors import UserError

DOCSTRING = """A question?

- no deviation: this list belongs to something else

Deviations from the paper:

- The first one goes on
  over two lines - with a dash.
- The second.

Something else.
"""
RUN = PublishedRun("theirs", {}, {"test_iou": 0.5})


def test_the_points_of_a_docstring_are_read_a_line_each():
    """Points below the heading come in order, each joined to one line; text before and after is ignored."""
    assert deviations_in(DOCSTRING) == ("The first one goes on over two lines - with a dash.", "The second.")


def test_a_docstring_without_the_list_is_refused():
    """A docstring without a list below the heading raises; without a docstring there are no deviations."""
    for text in ("A question?", DOCSTRING.replace("Deviations from the paper:", "Remarks:"), "\nDeviations from the paper:\n"):
        with pytest.raises(UserError, match=r"'Deviations from the paper:'; write one, with '- ' before each point$"):
            deviations_in(text)
    assert deviations_in(None) == ()


@pytest.mark.parametrize("wrong", ["one text", [""], [3]])
def test_deviations_are_a_list_of_texts(wrong):
    """A single text, an empty text, and a value that is not a text are refused."""
    with pytest.raises(UserError, match=r"^published 'Table 1': deviations=.*: must be a list of texts$"):
        Published("Table 1", [RUN], deviations=wrong)
    assert Published("Table 1", [RUN], deviations=["a", "b"]).as_dict()["deviations"] == ["a", "b"]
