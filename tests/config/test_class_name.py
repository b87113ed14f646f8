import pytest

from segsweep.config.class_name import foreground_number
from segsweep.errors import UserError


@pytest.mark.parametrize(
    ("classes", "number"),
    [
        (("background", "pet"), 1),
        (("lesion", "background"), 0),
        (("lesion", "_Back-Ground_"), 0),
        (("skin", "lesion"), 1),
        (("background", "Background"), 1),
        (("sky", "road", "background"), 1),
    ],
)
def test_the_foreground_is_the_class_that_is_not_the_background(classes, number):
    """Of two classes the foreground is the one not called background, in any spelling; otherwise the second."""
    assert foreground_number(classes) == number


def test_a_study_can_name_the_foreground():
    """A foreground that the study names takes precedence over the names of the classes."""
    assert foreground_number(("skin", "lesion"), "Skin") == 0
    assert foreground_number(("lesion", "background"), "background") == 1


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("skin", "lesion"), r"^Target foreground='nail': allowed are skin, lesion$"),
        (("nail", "skin", "lesion"), r"^Target foreground='nail': needs exactly two classes; with more, IoU is a mean$"),
    ],
)
def test_a_wrong_foreground_is_refused(classes, message):
    """A name that is not a class, or a name for other than two classes, raises one line with the allowed names."""
    with pytest.raises(UserError, match=message):
        foreground_number(classes, "nail")
