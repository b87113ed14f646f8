from dataclasses import dataclass, replace

import pytest

from segsweep.config import Architecture, Loss, Study, Supervised, Target
from segsweep.config.own import own
from segsweep.errors import UserError


@dataclass(frozen=True)
class Shapes:
    """What can be told of a data set without reading it."""

    name: str = "shapes"

    def examples(self):
        return []

    def read(self, example, scheme):
        raise NotImplementedError

    def revision(self):
        return "1"


NET = Architecture("net", build=lambda classes: classes, encoder="encoder.", classifier="head.")


def cross(logits, mask):
    return logits.sum() + mask.sum()


TVERSKY = Loss("tversky", cross)


def study(**changes) -> Study:
    values = {"name": "own", "target": Target("pets"), "compare": {"architecture": ["unet16", NET], "loss": ["dice", TVERSKY]}}
    return Study(**{**values, **changes})


def test_objects_stand_where_names_would():
    """A study file passes objects in the place of names; settings hold their texts, which lead back to the objects."""
    made = study()
    assert [(cell.architecture, cell.loss) for _, cell in made.cells()] == [
        ("unet16", "dice"),
        ("unet16", "own:tversky"),
        ("own:net", "dice"),
        ("own:net", "own:tversky"),
    ]
    assert own("own:net") is NET
    assert own("own:tversky") is TVERSKY


def test_a_data_set_object_is_a_target_or_a_source():
    """A data set object is a target as it is, and a source by `Supervised`, alone or at the end of a chain."""
    mine, other = Shapes(), Shapes("other")
    chain = ("imagenet", Supervised(other, limit=20))
    made = study(target=Target(mine), compare={"source": ["random", Supervised(other), chain]}, fixed={})
    assert made.target_name == "own:shapes"
    sources = [cell.source for _, cell in made.cells()]
    assert sources == ["random", "supervised:own:other", "imagenet+supervised:own:other@20"]
    assert own("own:shapes") is mine
    assert made.own["own:other"] is other


def test_a_narrowed_study_keeps_its_objects():
    """A study that is made from another, as `--set` does, still knows the objects."""
    made = replace(study(), compare={"architecture": ["own:net"]})
    assert made.own == {"own:net": NET, "own:tversky": TVERSKY}


def test_a_version_is_part_of_the_text():
    """Another version of an architecture or a loss is another value of the axis, and so another trial."""
    made = study(compare={"architecture": [NET, replace(NET, version=2)]})
    assert [cell.architecture for _, cell in made.cells()] == ["own:net", "own:net.v2"]


def test_two_objects_of_one_name_are_refused():
    """Two different objects of one name raise, naming it."""
    with pytest.raises(UserError, match="own:net: two different objects have this name"):
        study(compare={"architecture": [NET, replace(NET, encoder="backbone.")]})


@pytest.mark.parametrize("values", [{"name": "a b"}, {"name": ""}, {"name": "net", "version": 0}, {"name": 3}])
def test_a_name_that_no_text_can_hold_is_refused(values):
    """Names are letters, digits, '_' and '-'; versions whole numbers."""
    with pytest.raises(UserError, match="must be"):
        Loss(**{"function": cross, **values})


def test_a_text_without_its_object_says_where_it_exists():
    """A text whose object this process was not brought raises, and says that its study file brings it."""
    with pytest.raises(UserError, match=r"unknown name 'own:nothing'.*only where their study file is run"):
        own("own:nothing")


def test_a_class_map_is_checked_when_the_target_is_built():
    """A class map names lists of classes; a text in the place of a list is refused."""
    assert Target("pets", class_map={"pet": ["cat", "dog"]}).class_map == {"pet": ["cat", "dog"]}
    with pytest.raises(UserError, match="class_map pet='cat': must be a list of class names"):
        Target("pets", class_map={"pet": "cat"})
