"""`segsweep models`."""

import json

import pytest

from segsweep.cli.commands import command_line
from segsweep.models.architectures import DECODERS, NAMED, encoder_names

FOUR = {
    "fcn-resnet50": 9_439_747,
    "deeplabv3-resnet50": 16_126_211,
    "denseaspp-densenet121": 2_220_675,
    "cutdenseaspp-densenet161": 2_197_347,
}


def call(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    try:
        command_line(("models", *arguments))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_published_parameter_counts_are_reproduced(capsys: pytest.CaptureFixture[str]) -> None:
    """The four published numbers of trainable parameters are in the JSON rows, in the order of the arguments."""
    assert call(*FOUR, "--classes", "3", "--freeze", "encoder", "--image-px", "64", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"]: row["trainable_parameters"] for row in rows} == FOUR
    assert [row["name"] for row in rows] == list(FOUR)
    assert set(rows[0]) == {
        "name", "trainable_parameters", "total_parameters", "encoder_parameters", "head_parameters", "gmacs", "encoder_gmacs",
        "head_gmacs", "output_stride", "encoder_levels",
    }  # fmt: skip


def test_the_table_describes_each_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has one line per architecture with its numbers and a description, and states how they are counted."""
    assert call("unet16", "fcn-resnet50", "unet-resnet18", "--classes", "3", "--freeze", "encoder", "--image-px", "64") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["unet16", "fcn-resnet50", "unet-resnet18"]
    assert lines[3].split()[1:5] == ["9,439,747", "32,947,779", "23,508,032", "9,439,747"]
    assert lines[3].endswith(NAMED["fcn-resnet50"])
    assert "3 classes, freeze=encoder" in lines[-2]
    assert "64 px" in lines[-2]


def test_without_names_all_named_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without names the named architectures are listed."""
    few = {name: NAMED[name] for name in ("unet16", "segformer-mit_b0")}
    monkeypatch.setattr("segsweep.models.architectures.NAMED", few)
    assert call("--image-px", "64", "--json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(few)


def test_encoders_lists_what_can_be_combined(capsys: pytest.CaptureFixture[str]) -> None:
    """`--encoders` lists every decoder and encoder by the names that studies use."""
    assert call("--encoders") == 0
    output = capsys.readouterr().out
    assert all(f"{decoder}-ENCODER" in output for decoder in DECODERS)
    assert all(name in output for name in (*encoder_names(), "unet16", "fcn-resnet50", "denseaspp-densenet121", "tu-NAME"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("unet-resnet19",), "unknown encoder 'resnet19'"),
        (("unet-resnet18", "--freeze", "encoder:9"), "has 5 levels"),
        (("unet-resnet18", "--freeze", "decoder"), "freeze: unknown name 'decoder'"),
        (("unet-resnet18", "--classes", "0"), "'0': must be a whole number of at least 1"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown name or an unsuitable value is reported on stderr, with exit code 2."""
    assert call(*arguments) == 2
    assert words in capsys.readouterr().err
