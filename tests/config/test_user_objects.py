import hashlib
import json
import textwrap
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from typing import ClassVar

import pytest

from segsweep.config import (
    Architecture,
    Loss,
    Published,
    PublishedRun,
    SelfSupervised,
    SelfSupervisedMethod,
    Settings,
    StageSpec,
    Study,
    Supervised,
    Target,
    Trial,
)
from segsweep.config.digest import digest
from segsweep.config.source import Stage
from segsweep.config.source_text import code_of
from segsweep.config.user_objects import fingerprint, for_workers, register, user_object, with_fingerprints
from segsweep.data.table import DataRoots
from segsweep.errors import UserError
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.plan import make_plan
from segsweep.sweep.study_checks import check_user_objects


@dataclass(frozen=True)
class Shapes:
    """A dataset object with everything except readable images."""

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
    """A study file passes objects instead of names; settings contain their texts, from which the objects are found."""
    made = study()
    assert [(cell.architecture, cell.loss) for _, cell in made.cells()] == [
        ("unet16", "dice"),
        ("unet16", "own:tversky"),
        ("own:net", "dice"),
        ("own:net", "own:tversky"),
    ]
    assert user_object("own:net") is NET
    assert user_object("own:tversky") is TVERSKY


def test_a_dataset_object_is_a_target_or_a_source():
    """A dataset object is a target directly, and a source in `Supervised`, alone or at the end of a chain."""
    mine, other = Shapes(), Shapes("other")
    chain = ("imagenet", SelfSupervised(other, limit=30), Supervised(other, limit=20))
    made = study(target=Target(mine), compare={"source": ["random", Supervised(other), chain]}, fixed={})
    assert made.target_name == "own:shapes"
    sources = [cell.source for _, cell in made.cells()]
    assert sources == ["random", "supervised:own:other", "imagenet+simclr:own:other@30+supervised:own:other@20"]
    assert user_object("own:shapes") is mine
    assert made.own["own:other"] is other


def test_a_method_object_is_a_stage_of_a_source():
    """A user's self-supervised method is the kind of its stage, whose text parses with any dataset, limit and version."""
    method = SelfSupervisedMethod("rotation", build=cross, version=2)
    chain = ("imagenet", SelfSupervised(Shapes(), limit=30, method=method), Supervised("coco"))
    made = study(compare={"source": [SelfSupervised("folder:/data/a@2", method=method), chain]}, fixed={})
    first, last = [cell.chain for _, cell in made.cells()]
    assert str(first) == "own:rotation.v2:folder:/data/a%402"
    assert str(last) == "imagenet+own:rotation.v2:own:shapes@30+supervised:coco"
    (stage,), (_, middle, _) = first.stages, last.stages
    assert (stage.kind, stage.dataset, stage.limit) == ("own:rotation.v2", "folder:/data/a@2", None)
    assert (middle.kind, middle.dataset, middle.limit) == ("own:rotation.v2", "own:shapes", 30)
    assert (stage.self_supervised, stage.encoder_only, stage.supervised) == (True, True, False)
    assert user_object("own:rotation.v2") is method
    assert for_workers(made.user_objects).keys() == {"own:rotation.v2"}
    with pytest.raises(UserError, match="'own:other' has no object in this study"):
        check_user_objects(replace(made, compare={"source": ["own:other:pets"]}))
    with pytest.raises(UserError, match="is not a stage"):
        study(compare={"source": ["own:rotation"]}, fixed={})


def test_the_code_of_a_method_is_part_of_its_stages():
    """Another code gives a method's stages another identity; stages of other kinds keep theirs."""
    codes = [fingerprint_of(SelfSupervisedMethod("rotation", build)) for build in (cross, fingerprint_of)]
    stages = [StageSpec(Stage.parse("own:rotation:pets"), "unet16", 0, fingerprints={"own:rotation": code}) for code in codes]
    assert stages[0].spec_id != stages[1].spec_id
    simclr = StageSpec(Stage.parse("simclr:pets"), "unet16", 0)
    assert replace(simclr, fingerprints={"own:rotation": codes[0]}).spec_id == simclr.spec_id


def fingerprint_of(value):
    """Return the fingerprint of an object."""
    return with_fingerprints({"own:any": value})["own:any"].fingerprint


def test_a_narrowed_study_keeps_its_objects():
    """A study derived from another, as by `--set`, still has the objects."""
    made = replace(study(), compare={"architecture": ["own:net"]})
    assert made.own == {"own:net": NET, "own:tversky": TVERSKY}


def test_stages_is_the_former_name_of_levels():
    """An architecture declared with `stages` has these levels, and the fingerprint of earlier versions."""
    levels = [["encoder.a."], ["encoder.b.", "encoder.c"]]
    for declared in (replace(NET, levels=levels), replace(NET, stages=levels), replace(NET, levels=[["other."]], stages=levels)):
        assert declared.levels == levels
        register({"own:net": declared})
        assert fingerprint("own:net") == digest([code_of(NET.build), "encoder.", "head.", levels])
    assert replace(declared, version=2).levels == levels


def test_a_version_is_part_of_the_text():
    """Another version of an architecture or a loss is another value of the axis, and so another trial."""
    made = study(compare={"architecture": [NET, replace(NET, version=2)]})
    assert [cell.architecture for _, cell in made.cells()] == ["own:net", "own:net.v2"]


def test_two_objects_of_one_name_are_refused():
    """Two different objects with one name raise an error that names it."""
    with pytest.raises(UserError, match="own:net: two different objects have this name"):
        study(compare={"architecture": [NET, replace(NET, encoder="backbone.")]})


@pytest.mark.parametrize("values", [{"name": "a b"}, {"name": ""}, {"name": "net", "version": 0}, {"name": 3}])
def test_a_name_that_no_text_can_hold_is_refused(values):
    """Names consist of letters, digits, '_' and '-'; versions are whole numbers."""
    with pytest.raises(UserError, match="must be"):
        Loss(**{"function": cross, **values})


def test_a_text_without_its_object_names_the_remedy():
    """A text without an object in this process raises, and names the remedy: a run of its study file."""
    with pytest.raises(UserError, match=r"unknown name 'own:nothing'.*only in a run of their study file"):
        user_object("own:nothing")


def test_a_class_map_is_checked_when_the_target_is_built():
    """A class map contains lists of classes; a text in place of a list is refused."""
    assert Target("pets", class_map={"pet": ["cat", "dog"]}).class_map == {"pet": ["cat", "dog"]}
    with pytest.raises(UserError, match="class_map pet='cat': must be a list of class names"):
        Target("pets", class_map={"pet": "cat"})


class Half:
    """A dataset that lacks most of the required attributes."""

    name = "half"

    def examples(self):
        return []


def test_an_incomplete_dataset_is_refused_with_what_it_lacks():
    """A dataset object without a required attribute is refused when the study is built, with the missing names."""
    with pytest.raises(UserError, match="dataset Half: lacks schemes, fit, pool, protocols, files, revision, read"):
        study(target=Target(Half()))


def other(logits, mask):
    return logits.sum() - mask.sum()


def identities(loss: Loss) -> tuple[str, str]:
    """Return the identities of a trial and of a stage in a study with this loss."""
    fingerprints = study(compare={"loss": [loss]}).fingerprints
    trial = Trial("s", "c", "tune", Settings(loss="dice+own:loss"), 0, Target("pets"), "data", fingerprints=fingerprints)
    stage = StageSpec(Stage.parse("supervised:coco"), "unet16", 0, "data", {"loss": "own:loss"}, fingerprints=fingerprints)
    return trial.trial_id, stage.spec_id


def weighted(weight, inner=None):
    """Return a loss whose code is the same for every weight."""
    return lambda logits, mask: weight * (inner or cross)(logits, mask)


class Weighted:
    """A loss that is a callable object."""

    def __init__(self, weight):
        self.weight, self._cache = weight, object()

    def __call__(self, logits, mask):
        return self.weight * cross(logits, mask)

    def method(self, logits, mask):
        return self(logits, mask)


def test_the_code_of_a_loss_is_part_of_the_identity():
    """Losses of one name with different code, or with different values in the same code, give different trials and stages."""
    made = [cross, other, partial(cross, mask=0), partial(cross, mask=1), lambda x, m: x + m, lambda x, m: x * m]
    made += [weighted(1), weighted(2), weighted(2, other), Weighted(1), Weighted(2), Weighted(1).method, Weighted(2).method]
    found = [identities(Loss("loss", function)) for function in made]
    assert len({trial for trial, _ in found}) == len({stage for _, stage in found}) == len(made)
    for again in (cross, partial(cross, mask=1), weighted(2, other), Weighted(2), Weighted(2).method):
        assert identities(Loss("loss", again)) in found


def test_the_encoder_prefix_is_part_of_the_identity():
    """The prefix of an architecture's encoder is part of its fingerprint."""
    register({"own:net": NET})
    before = fingerprint("own:net")
    register({"own:net": replace(NET, encoder="body.")})
    assert fingerprint("own:net") != before
    assert fingerprint("unet16") is None


def loss_in(folder, text):
    """Return the loss from a study file with this text."""
    path = folder / f"file_{abs(hash(text))}.py"
    path.write_text(text)
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return Loss("loss", module.loss)


BODY = "def loss(logits, mask):\n    # the mean\n    return logits.mean()\n"


def test_an_edited_comment_is_another_code(tmp_path):
    """A fingerprint covers comments in the text, but not other lines, common indentation, or line ends."""
    mark = identities(loss_in(tmp_path, BODY))
    assert identities(loss_in(tmp_path, BODY.replace("the mean", "the average"))) != mark
    assert identities(loss_in(tmp_path, "x = 3\n\n" + BODY + "\ny = 4\n")) == mark
    assert identities(loss_in(tmp_path, "if True:\n" + textwrap.indent(BODY, "    "))) == mark
    assert identities(loss_in(tmp_path, BODY.replace("\n", "\r\n"))) == mark


def test_fingerprints_are_the_same_under_every_python(tmp_path):
    """Fingerprints are digests of the text: these were computed with hashlib, and must not depend on the Python version."""
    function, short = loss_in(tmp_path, BODY), loss_in(tmp_path, "pair = [lambda x, m: x, loss := lambda x, m: m.sum()]\n")
    expected = {"function": [BODY.rstrip()], "lambda": ["lambda x, m: m.sum()"]}
    for what, loss in (("function", function), ("lambda", short)):
        content = json.dumps(expected[what], separators=(",", ":")).encode()
        assert study(compare={"loss": [loss]}).fingerprints == {"own:loss": hashlib.sha256(content).hexdigest()[:20]}


def test_lambdas_on_one_line_and_nested_ones_differ():
    """Each of several lambdas on a line has its own text."""
    outer, after = (lambda x, m: (lambda y: y + x)(m)), (lambda x, m: x * m)
    assert code_of(outer) == ["lambda x, m: (lambda y: y + x)(m)"]
    assert code_of(after) == ["lambda x, m: x * m"]
    inner = (lambda x: (lambda y, m: y + m + x))(3)  # fmt: skip
    assert code_of(inner) == ["lambda y, m: y + m + x", {"x": "3"}]


def test_the_study_that_was_declared_last_changes_no_identity():
    """A trial and a dataset keep the identity from the declaration of their study, whatever is declared later."""
    first = study(target=Target(Shapes()), compare={"loss": [Loss("loss", cross)]})
    again = study(target=Target(Shapes()), compare={"loss": [Loss("loss", cross)]})
    keys = []
    for planned, last in ((first, None), (again, other)):
        catalog = Catalog(DataRoots(), None, lambda *_: None, user_objects=planned.user_objects)
        plan = make_plan(planned, lambda *_: "data")
        if last is not None:
            study(target=Target(Others()), compare={"loss": [Loss("loss", last)]})
        request = catalog._data_spec(("own:shapes", None, 16, "own"))
        keys.append((plan.cells[0].trial("tune", plan.cells[0].settings, 0).trial_id, request.fingerprint, type(request.dataset)))
    assert keys[0] == keys[1]


@dataclass(frozen=True)
class Others(Shapes):
    """Another dataset with the same name."""


def test_a_worker_uses_the_drivers_fingerprint():
    """An object that is sent to workers keeps its fingerprint, although its code cannot be read there."""
    register({"own:loss": Loss("loss", cross)})
    before = fingerprint("own:loss")
    space: dict = {}
    exec("def cross(logits, mask):\n    return logits.sum() + mask.sum()", space)  # as in a worker: without source text
    brought = for_workers()["own:loss"]
    register({"own:loss": replace(brought, value=Loss("loss", space["cross"]))})
    assert fingerprint("own:loss") == before
    assert user_object("own:loss").function is space["cross"]


def test_published_runs_may_name_objects_and_nothing_unknown():
    """An object in a published run is named as in the study; an unknown axis is refused when the study is built."""
    table = Published("Table 1", [PublishedRun("A", {"architecture": NET}, {"test_iou": 0.5})])
    assert study(published=table).published.as_dict()["runs"][0]["cell"] == {"architecture": "own:net"}
    wrong = Published("Table 1", [PublishedRun("A", {"sauce": "random"}, {"test_iou": 0.5})])
    with pytest.raises(UserError, match="published run 'A': unknown name 'sauce'; nearest: source"):
        study(published=wrong)


def test_a_text_never_means_an_object_of_another_study():
    """A study that names `own:NAME` without its object is refused, even if another study of the process has one."""
    study()
    named = ({"architecture": ["own:net"]}, {"loss": ["dice+own:tversky"]}, {"source": ["supervised:own:squares"]})
    for changes in ({"compare": axis} for axis in named):
        with pytest.raises(
            UserError, match=r"study own: 'own:(net|tversky|squares)' has no object in this study, which has: none"
        ):
            check_user_objects(study(**changes))
    check_user_objects(study())
