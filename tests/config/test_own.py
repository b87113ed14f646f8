from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import pytest

from segsweep.config import (
    Architecture,
    Loss,
    Published,
    PublishedRun,
    SelfSupervised,
    Settings,
    StageSpec,
    Study,
    Supervised,
    Target,
    Trial,
)
from segsweep.config.own import adopt, fingerprint, own, portable
from segsweep.config.source import Stage
from segsweep.errors import UserError


@dataclass(frozen=True)
class Shapes:
    """What can be told of a data set without reading it."""

    name: str = "shapes"
    schemes: ClassVar = {"all": ("ground", "shape")}
    fit: ClassVar = "resize"
    pool: ClassVar = ("train",)
    protocols: ClassVar = {}

    def examples(self):
        return []

    def files(self):
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
    chain = ("imagenet", SelfSupervised(other, limit=30), Supervised(other, limit=20))
    made = study(target=Target(mine), compare={"source": ["random", Supervised(other), chain]}, fixed={})
    assert made.target_name == "own:shapes"
    sources = [cell.source for _, cell in made.cells()]
    assert sources == ["random", "supervised:own:other", "imagenet+simclr:own:other@30+supervised:own:other@20"]
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


class Half:
    """A data set that lacks most of what is needed."""

    name = "half"

    def examples(self):
        return []


def test_a_data_set_that_lacks_something_is_told_what():
    """An object that is meant as a data set but lacks a part is refused when the study is built, with what it lacks."""
    with pytest.raises(UserError, match="data set Half: lacks schemes, fit, pool, protocols, files, revision, read"):
        study(target=Target(Half()))


def other(logits, mask):
    return logits.sum() - mask.sum()


def test_what_is_computed_is_part_of_the_identity():
    """Two losses or architectures of one name but of another code give other trials and stages; the same code the same."""
    marks = []
    for function in (cross, other, cross, partial(cross, mask=0), partial(cross, mask=1), lambda x, m: x + m, lambda x, m: x * m):
        adopt({"own:loss": Loss("loss", function)})
        trial = Trial("s", "c", "tune", Settings(loss="dice+own:loss"), 0, Target("pets"), "data")
        stage = StageSpec(Stage.parse("supervised:coco"), "unet16", 0, "data", {"loss": "own:loss"})
        marks.append((trial.trial_id, stage.spec_id))
    assert marks[0] == marks[2]
    assert len({trial for trial, _ in marks}) == len({stage for _, stage in marks}) == 6
    adopt({"own:net": NET})
    before = fingerprint("own:net")
    adopt({"own:net": replace(NET, encoder="body.")})
    assert fingerprint("own:net") != before
    assert fingerprint("unet16") is None


def test_a_worker_knows_a_thing_by_the_mark_that_the_driver_took():
    """What travels to workers keeps its mark, though its code cannot be read there."""
    adopt({"own:loss": Loss("loss", cross)})
    before = fingerprint("own:loss")
    space: dict = {}
    exec("def cross(logits, mask):\n    return logits.sum() + mask.sum()", space)  # as a worker has it: without a source
    brought = portable()["own:loss"]
    adopt({"own:loss": replace(brought, thing=Loss("loss", space["cross"]))})
    assert fingerprint("own:loss") == before
    assert own("own:loss").function is space["cross"]


def test_published_runs_may_name_objects_and_nothing_unknown():
    """An object in a published run is named as in the study; an axis that is no setting is refused when the study is built."""
    table = Published("Table 1", [PublishedRun("A", {"architecture": NET}, {"test_iou": 0.5})])
    assert study(published=table).published.as_dict()["runs"][0]["cell"] == {"architecture": "own:net"}
    wrong = Published("Table 1", [PublishedRun("A", {"sauce": "random"}, {"test_iou": 0.5})])
    with pytest.raises(UserError, match="published run 'A': unknown name 'sauce'; known: source"):
        study(published=wrong)
