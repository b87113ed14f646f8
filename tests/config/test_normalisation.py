import json

import pytest

from segsweep.config import File, Settings, StageSpec, Study, Target
from segsweep.config.narrow import narrow
from segsweep.config.normalisation import HALF, IMAGENET, Normalisation
from segsweep.config.source import Source, Stage
from segsweep.errors import UserError

CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@pytest.mark.parametrize("mean", [-0.1, 1.5, 123.7, float("nan"), [0.5, 0.5], [0.5, 0.5, "x"], "half"])
def test_a_mean_out_of_range_is_refused(mean):
    """A mean is one number or three in 0..1; means of images in 0..255 raise an error that names the units."""
    with pytest.raises(UserError, match=r"mean=.*units of 0\.\.1 \(0 <= mean <= 1\)"):
        Normalisation.stated(mean, 0.5)


@pytest.mark.parametrize("std", [0, -0.5, 57.4, float("inf"), []])
def test_a_deviation_out_of_range_is_refused(std):
    """A standard deviation is above 0 and at most 1."""
    with pytest.raises(UserError, match=r"std=.*\(0 < std <= 1\)"):
        Normalisation.stated(0.5, std)


def test_one_number_stands_for_all_channels():
    """One number applies to all three channels."""
    assert Normalisation.stated(0.5, 0.5) == HALF


def test_it_survives_json():
    """A normalisation that went through an artifact's metadata is identical to the last bit."""
    for each in (IMAGENET, HALF, CLIP):
        assert Normalisation.of(json.loads(json.dumps(each.as_dict()))) == each


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (File("vit.pth"), "file:vit.pth"),
        (File("vit.pth", mean=0.5, std=0.5), "file:vit.pth@mean=0.5@std=0.5"),
        (File("a b@3.pth", prefix="teacher.backbone"), "file:a b@3.pth@prefix=teacher.backbone"),
        (
            File("x.pth", mean=CLIP.mean, std=CLIP.std, prefix="visual"),
            "file:x.pth@prefix=visual@mean=0.48145466:0.4578275:0.40821073@std=0.26862954:0.26130258:0.27577711",
        ),
        (File("x.pth", mean=(0, 0, 0), std=1 / 255), "file:x.pth@mean=0.0@std=0.00392156862745098"),
    ],
)
def test_a_file_states_its_normalisation_in_the_study(file, text):
    """A `File` becomes the text that `--set source=` accepts, alone or at the start of a chain; both are the same stage."""
    study = Study("s", Target("pets"), {"source": [file, (file, "simclr:coco")]}, fixed={})
    sources = [settings.source for _, settings in study.cells()]
    assert sources == [text, f"{text}+simclr:coco"]
    stage = Source.parse(text).stages[0]
    assert (stage.name, stage.prefix) == (str(file.path), file.prefix)
    if file.mean is not None:
        assert stage.normalisation == Normalisation.stated(file.mean, file.std)
    narrowed = narrow(Study("s", Target("pets"), {"source": ["random"]}), [f"source={text}"])
    assert [settings.source for _, settings in narrowed.cells()] == [text]


def test_order_and_spelling_of_options_do_not_matter():
    """Two spellings of the same options of a file are one source."""
    texts = ("file:x@mean=0.5@std=0.5@prefix=a", "file:x@prefix=a@std=.5:.5:.5@mean=5e-1")
    assert len({Settings.build(source=text).source for text in texts}) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file:x@mean=0.5", "give both mean and std"),
        ("file:x@std=0.5", "give both mean and std"),
        ("file:x@mean=127@std=0.5", r"units of 0\.\.1"),
        ("file:x@mean=half@std=0.5", "half"),
        ("file:x@mean=0.5:0.5@std=0.5", "one number, or three"),
        ("file:x@prefix=", "prefix is empty"),
    ],
)
def test_half_a_statement_is_refused(text, words):
    """A mean without a deviation, a value out of range, or an empty prefix raises one line."""
    with pytest.raises(UserError, match=words) as caught:
        Settings.build(source=text)
    assert "\n" not in str(caught.value)


def test_mean_without_deviation_is_refused_for_an_object():
    """`File` with only a mean is refused when the study is built."""
    with pytest.raises(UserError, match="both mean and std"):
        Study("s", Target("pets"), {"source": [File("x.pth", mean=0.5)]})


def test_options_of_a_file_are_part_of_its_identity():
    """The same bytes with another normalisation, or read with another prefix, are another stage."""
    texts = ("file:x", "file:x@mean=0.5@std=0.5", "file:x@prefix=a", "file:x@prefix=b")
    specs = [StageSpec(Stage.parse(text), "unet16", 0, data="hash") for text in texts]
    assert len({spec.spec_id for spec in specs}) == len({spec.key(None) for spec in specs}) == len(texts)
    assert StageSpec(Stage.parse("file:/elsewhere/x"), "unet16", 0, data="hash").key(None) == specs[0].key(None)
