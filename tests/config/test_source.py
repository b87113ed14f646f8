import itertools

import pytest

from segsweep.config.source import Source, Stage
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
    """A source that is written canonically reads back as the same text and the same value."""
    source = Source.parse(text)
    assert str(source) == text
    assert Source.parse(str(source)) == source


@pytest.mark.parametrize("text", BAD)
def test_bad_text_is_refused_in_one_line(text):
    """A text that is no source raises one line that says which forms there are."""
    with pytest.raises(UserError, match=r"^source: .*imagenet.*simclr:DATASET\[@N\]") as raised:
        Source.parse(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", LATE_WEIGHTS)
def test_weights_only_begin_a_chain(text):
    """Published weights, files and `random` stand first or not at all, since a later one would discard the stages before."""
    with pytest.raises(UserError, match="can only begin a chain"):
        Source.parse(text)


def test_random_before_a_stage_says_nothing():
    """`random+supervised:voc2012` means `supervised:voc2012` and becomes it; `random` alone is the empty chain."""
    assert Source.parse("random+supervised:voc2012") == Source.parse("supervised:voc2012")
    assert str(Source.parse("random+supervised:voc2012")) == "supervised:voc2012"
    assert Source.parse("random").stages == ()


def test_every_chain_of_known_stages_round_trips():
    """Each beginning followed by any two data set stages parses, and its canonical form parses to the same chain."""
    beginnings = ["random", "imagenet", "coco-weights", "file:/x/y.pth"]
    stages = ["supervised:coco", "supervised:coco@12", "simclr:folder:/a@b/c", "simclr:folder:/a@b/c@3"]
    for first, second, third in itertools.product(beginnings, stages, stages):
        source = Source.parse(f"{first}+{second}+{third}")
        assert Source.parse(str(source)) == source
        assert str(source) == "+".join(part for part in (first, second, third) if part != "random")


def test_limit_is_the_number_after_the_last_at():
    """`@N` limits the data set; an `@` inside a folder's path belongs to the path."""
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
def test_the_last_stage_tells_what_a_chain_gives(text, encoder_only):
    """A chain gives an encoder alone when its last stage does, whatever came before."""
    assert Source.parse(text).encoder_only is encoder_only
