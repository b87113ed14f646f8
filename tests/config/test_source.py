import ast
import itertools
import pickle
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from segsweep.config import File, SelfSupervised, Settings, Study, Supervised, Target
from segsweep.config import source as source_module
from segsweep.config.setting_types import parsed_source
from segsweep.config.source import Source, Stage
from segsweep.config.stage_kinds import STAGE_KINDS
from segsweep.errors import UserError

CANONICAL = [
    "random",
    "imagenet",
    "coco-weights",
    "file:weights.pth",
    "file:/a b/weights@3.pth",
    "supervised:voc2012",
    "supervised:voc2012@500",
    "supervised:folder:/data/my set",
    "supervised:folder:/data/a@b/set",
    "supervised:folder:/data/a@b/set@7",
    "simclr:cats_dogs",
    "simclr:cats_dogs@1",
    "imagenet+simclr:cats_dogs",
    "coco-weights+supervised:voc2012@500+simclr:cats_dogs",
    "file:start.safetensors+supervised:coco",
    "imagenet:IMAGENET1K_V2+supervised:cityscapes/raw@500",
    "coco-weights",
    "supervised:own:mine@7",
]

BAD = [
    "",
    " ",
    "+",
    "imagenet+",
    "+imagenet",
    "imagenet ",
    "Imagenet",
    "imagenet:",
    "imagenet:v 2",
    "imagenet:a/b",
    "random:1",
    "coco",
    "voc2012",
    "file",
    "file:",
    "supervised",
    "supervised:",
    "supervised:@5",
    "supervised: voc2012",
    "supervised:voc2012 ",
    "supervised:voc2012\n",
    "supervised:voc2012@",
    "supervised:voc2012@0",
    "supervised:voc2012@-1",
    "supervised:voc2012@05",
    "supervised:voc2012@1.5",
    "supervised:voc2012@1e3",
    "supervised:voc2012@1٣",
    "supervised:voc2012@ten",
    "simclr:x@0",
    "imagenet + simclr:x",
    "imagenet++simclr:x",
    "imagenet,simclr:x",
]

LATE_WEIGHTS = [
    "simclr:x+imagenet",
    "imagenet+random",
    "random+random",
    "random+imagenet",
    "imagenet+file:x",
    "simclr:x+coco-weights",
]


@pytest.mark.parametrize("text", CANONICAL)
def test_canonical_text_is_its_own_form(text):
    """A source in canonical notation parses to the same text and the same value."""
    source = Source.parse(text)
    assert str(source) == text
    assert Source.parse(str(source)) == source


@pytest.mark.parametrize("text", BAD)
def test_bad_text_is_refused_in_one_line(text):
    """A text that is not a source raises one line that lists the forms."""
    with pytest.raises(UserError, match=r"^source: .*imagenet.*simclr:DATASET\[@N\]") as raised:
        Source.parse(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", LATE_WEIGHTS)
def test_weights_only_begin_a_chain(text):
    """Published weights, files and `random` may only be the first stage, since a later one would discard earlier stages."""
    with pytest.raises(UserError, match="must be the first stage of a chain"):
        Source.parse(text)


def test_random_before_a_stage_is_dropped():
    """`random+supervised:voc2012` becomes `supervised:voc2012`; `random` alone is the empty chain."""
    assert Source.parse("random+supervised:voc2012") == Source.parse("supervised:voc2012")
    assert str(Source.parse("random+supervised:voc2012")) == "supervised:voc2012"
    assert Source.parse("random").stages == ()


def test_every_chain_of_known_stages_round_trips():
    """Each first stage followed by any two dataset stages parses, and its canonical form parses to the same chain."""
    beginnings = ["random", "imagenet", "coco-weights", "file:/x/y.pth"]
    stages = ["supervised:coco", "supervised:coco@12", "simclr:folder:/a@b/c", "simclr:folder:/a@b/c@3"]
    for first, second, third in itertools.product(beginnings, stages, stages):
        source = Source.parse(f"{first}+{second}+{third}")
        assert Source.parse(str(source)) == source
        assert str(source) == "+".join(part for part in (first, second, third) if part != "random")


def test_limit_is_the_number_after_the_last_at():
    """`@N` limits the dataset; an `@` within a folder's path belongs to the path."""
    assert Stage.parse("supervised:coco@12") == Stage("supervised", "coco", 12)
    assert Stage.parse("supervised:folder:/a@b/c") == Stage("supervised", "folder:/a@b/c", None)
    assert Stage.parse("simclr:folder:/a@b/c@3") == Stage("simclr", "folder:/a@b/c", 3)


@pytest.mark.parametrize(
    ("text", "encoder_only"),
    [
        ("random", False),
        ("imagenet", True),
        ("coco-weights", False),
        ("file:x", False),
        ("supervised:coco", False),
        ("simclr:coco", True),
        ("imagenet+supervised:coco", False),
        ("supervised:coco+simclr:x", True),
    ],
)
def test_the_last_stage_decides_whether_a_chain_is_encoder_only(text, encoder_only):
    """A chain produces only an encoder if its last stage does, whatever precedes it."""
    assert Source.parse(text).encoder_only is encoder_only


PATHS = [
    "/a+b.pth",
    "/a,b.pth",
    "/a@2",
    "/x@mean=0.5",
    "/x@prefix=a.pth",
    "/100%.pth",
    "/50%2B.pth",
    "/a%40b@5",
    "/a%252B",
    "+@,%",
    "/é @b/c d",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stage", [Stage("file"), Stage("file", prefix="net"), Stage("supervised"), Stage("simclr", limit=7)])
def test_any_path_survives_as_a_text(stage, path):
    """A path with separators of sources is escaped so that the same path is parsed, alone and in a chain."""
    written = replace(stage, name=path)
    assert Source.parse(str(written)).stages == (written,)
    assert Source.parse(f"{written}+simclr:coco@3").stages == (written, Stage("simclr", "coco", 3))
    assert Source.parse(str(Source.parse(str(written)))).stages == (written,)


def test_objects_accept_paths_of_any_characters():
    """`File` and `Supervised` accept paths that a text would have to escape."""
    sources = [File("/a+b@3,c.pth"), (File("/w+.pth", mean=0.5, std=0.5), Supervised("folder:/data/a@2", limit=5))]
    study = Study(name="s", target=Target("pets"), compare={"source": [*sources, SelfSupervised("folder:/a+b")]})
    first, second, third = (Source.parse(cell.source).stages for _, cell in study.cells())
    assert [stage.name for stage in (*first, *second, *third)] == ["/a+b@3,c.pth", "/w+.pth", "folder:/data/a@2", "folder:/a+b"]
    assert (second[1].limit, third[0].limit) == (5, None)


@pytest.mark.parametrize("text", ["file:/a+b.pth", "supervised:folder:/a@b"])
def test_a_divided_path_is_refused_with_the_remedy(text):
    """A path that is split at its `+` or `@` raises one line that explains how to escape it."""
    with pytest.raises(UserError, match=r"in a path write \+ as %2B, @ as %40 and , as %2C, or give an object: File\('PATH'\)"):
        Source.parse(text)


@cache
def nodes() -> list[tuple[str, ast.AST]]:
    """Return every node of the package's code, with the file that contains it."""
    package = Path(source_module.__file__).parents[1]
    files = sorted(package.rglob("*.py"))
    return [(str(path.relative_to(package)), node) for path in files for node in ast.walk(ast.parse(path.read_text("utf-8")))]


def test_texts_are_parsed_in_one_place():
    """Only the type of the setting parses the text of a source, only `Source` that of a stage, and `File` its own to check it."""
    calls = [
        (file, f"{node.value.id}.parse")
        for file, node in nodes()
        if isinstance(node, ast.Attribute) and node.attr == "parse" and isinstance(node.value, ast.Name)
    ]
    assert [file for file, called in calls if called == "Source.parse"] == ["config/setting_types.py"]
    assert [file for file, called in calls if called == "Stage.parse"] == ["config/source.py", "config/user_objects.py"]


def test_no_code_compares_names_of_kinds():
    """Code uses properties such as `stage.supervised`; only the parser of a chain compares a kind, to drop `random`."""
    compared = [(file, ast.unparse(node)) for file, node in nodes() if isinstance(node, ast.Compare)]
    words = [(file, text) for file, text in compared if "kind" in text and any(repr(kind) in text for kind in STAGE_KINDS)]
    assert words == [("config/source.py", "stage.kind != 'random'")]


def test_a_source_is_parsed_once_and_shared(monkeypatch):
    """A source in many settings is parsed once as given and once in canonical form; all settings share one object."""
    parsed, parse = Counter(), Source.parse
    monkeypatch.setattr(Source, "parse", lambda text: parsed.update([text]) or parse(text))
    parsed_source.cache_clear()
    compare = {
        "source": ["random+supervised:coco", "supervised:coco", "imagenet"],
        "image_px": [32, 64, 96],
        "batch_size": [1, 2],
    }
    study = Study("s", Target("pets"), compare)
    chains = {id(cell.chain) for _, cell in study.cells() for _ in range(3)}
    assert len(chains) == 2
    assert parsed == {"random+supervised:coco": 1, "supervised:coco": 1, "imagenet": 1}


def test_the_parsed_source_is_not_part_of_settings():
    """Access to the parsed chain changes neither values, equality nor pickle of settings; a copy has its own chain."""
    settings, other = Settings.build(source="imagenet"), Settings.build(source="imagenet")
    before = settings.model_dump(), pickle.dumps(settings)
    assert settings.chain == Source.parse("imagenet")
    assert (settings.model_dump(), pickle.dumps(settings)) == before
    assert settings == other
    assert settings.model_copy(update={"source": "random"}).chain.stages == ()


@pytest.mark.parametrize(
    ("text", "dataset", "path", "weights", "trains", "self_supervised", "supervised"),
    [
        ("imagenet", None, None, None, False, False, False),
        ("imagenet:V2", None, None, "V2", False, False, False),
        ("coco-weights", None, None, None, False, False, False),
        ("file:/a.pth@prefix=x", None, "/a.pth", None, False, False, False),
        ("supervised:folder:/a@5", "folder:/a", None, None, True, False, True),
        ("simclr:coco", "coco", None, None, True, True, False),
    ],
)
def test_a_stage_describes_itself(text, dataset, path, weights, trains, self_supervised, supervised):
    """A stage names its dataset, file or published weights, and how it trains; other properties are None or False."""
    stage = Stage.parse(text)
    assert (stage.dataset, stage.path, stage.weights) == (dataset, path, weights)
    assert (stage.trains, stage.self_supervised, stage.supervised) == (trains, self_supervised, supervised)
