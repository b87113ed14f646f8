"""`--plan`, `--check` and a run reject the same studies with the same message, and a plan leaves nothing behind."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import nn

from segsweep.cli.study_script import main
from segsweep.config import Architecture, LogUniform, Study, Target, Uniform
from segsweep.records.writer import RecordWriter

MODES = (["--check"], ["--plan"], [])  # a rehearsal first: then a plan has decoded data
Change = Callable[[Path], object]


def declared(folder: Path, source: Path, **changes: Any) -> Study:
    """Return a study of two cells on a folder; `of_target` and `fixed` are added to its defaults."""
    target = Target(f"folder:{folder}", **changes.pop("of_target", {}))
    fixed = {"image_px": 32, "architecture": "unet4", "steps": 2, "validations": 1, "batch_size": 4, **changes.pop("fixed", {})}
    compare = {"source": ["random", f"supervised:folder:{source}"]}
    values = {"tune": {"learning_rate": LogUniform(1e-4, 1e-2)}, "trials_per_cell": 1, "seeds": 1, "compare": compare, **changes}
    return Study(name="s", target=target, fixed=fixed, **values)


def call(study: Study, folder: Path, *arguments: str) -> int:
    """Run a study's command line in this process, with its folders below `place`, and return its exit code."""
    places = ["--out", f"{folder}/runs", "--store", f"{folder}/store", "--runner", "inline", "--device", "cpu", "--threads", "1"]
    with pytest.raises(SystemExit) as end:
        main(study, arguments=[*places, *arguments])
    return int(end.value.code or 0)


def held(folder: Path) -> RecordWriter:
    """Hold a study, as its driver does."""
    return RecordWriter(folder / "runs" / "s").__enter__()


def later_records(folder: Path) -> None:
    """Write records of a later version."""
    (folder / "runs" / "s").mkdir(parents=True)
    (folder / "runs" / "s" / "study.json").write_text(json.dumps({"schema_version": 999, "name": "s"}))


def file_at(name: str) -> Change:
    """Put a file where a folder is needed."""

    def put(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")

    return put


def wrong_mask(folder: Path) -> None:
    """Give a mask a class number that does not exist."""
    Image.new("L", (32, 32), 9).save(folder / "target" / "masks" / "000.png")


def without_mask(folder: Path) -> None:
    (folder / "target" / "masks" / "000.png").unlink()


def one_class(folder: Path) -> None:
    """Leave only one class in all masks."""
    for path in (folder / "target" / "masks").iterdir():
        Image.new("L", (32, 32), 1).save(path)


def one_name_twice(folder: Path) -> None:
    shutil.copy(folder / "target" / "images" / "000.png", folder / "target" / "images" / "000.bmp")


NET = Architecture("net", build=lambda classes: nn.Conv2d(3, classes + 1, 1), encoder="0.", classifier="0.")
BATCH_OF_ONE = {"architecture": "deeplabv3plus-resnet18", "batch_size": 1}
BY_SETTING: Mapping[str, tuple[dict[str, Any], list[str]]] = {  # mistakes in a study or on its command line
    "--set: unknown name 'frction'; nearest: fraction": ({}, ["--set", "frction=1"]),
    "--set fraction: must have the form NAME=VALUE": ({}, ["--set", "fraction"]),
    "study s: fold=2: protocol '60-20-20' has no folds": ({}, ["--set", "fold=2"]),
    "protocol '60-20-10': 60+20+10 is not 100": ({}, ["--set", "protocol=60-20-10"]),
    "dataset 'folder:TARGET': protocol 'official' leaves the val split empty": ({}, ["--set", "protocol=official"]),
    "dataset: unknown name 'nothing'": ({}, ["--set", "target=nothing"]),
    "fraction=0.001: leaves none of the 24 training": ({}, ["--set", "fraction=0.001"]),
    "image_px=40: unet4 needs a multiple of 16": ({}, ["--set", "image_px=40"]),
    "architecture 'unet-resnet999': unknown encoder": ({}, ["--set", "architecture=unet-resnet999"]),
    "architecture 'unet-resnet18': freeze='encoder:99'": (
        {},
        ["--set", "architecture=unet-resnet18", "--set", "freeze=encoder:99"],
    ),
    "batch_size=1: deeplabv3plus-resnet18 normalises over the batch": ({"fixed": BATCH_OF_ONE}, []),
    "test_size=original: fit=crop crops": ({}, ["--set", "test_size=original", "--set", "fit=crop"]),
    "Target foreground='lesion'": ({"of_target": {"foreground": "lesion"}}, []),
    "Target class_map: unknown name 'lesion'": ({"of_target": {"class_map": {"lesion": ["x"]}}}, []),
    "Target class_map figure <- 'nowhere'": ({"of_target": {"class_map": {"figure": ["nowhere"]}}}, []),
    "source @9999: dataset": ({}, ["--set", "source=supervised:folder:SOURCE@9999"]),
    "source supervised:folder:SOURCE@1: too few training images: 1": ({}, ["--set", "source=supervised:folder:SOURCE@1"]),
    "source supervised:folder:TARGET: this is the target's own": ({}, ["--set", "source=supervised:folder:TARGET"]),
    "source file:/no/such.pth: file is missing": ({}, ["--set", "source=file:/no/such.pth"]),
    "source file:STUDY": ({}, ["--set", "source=file:STUDY"]),
    "--set source='imagnet': source: 'imagnet' is not a stage": ({}, ["--set", "source=imagnet"]),
    "--device cuda:9": ({}, ["--device", "cuda:9"]),
    "--threads 999": ({}, ["--threads", "999"]),
    "--threads 0: must be at least 1": ({}, ["--threads", "0"]),
    "--workers-per-stage 2: the inline runner has one worker": ({}, ["--workers-per-stage", "2"]),
    "--workers-per-trial 9: batch_size=4": ({}, ["--workers-per-trial", "9"]),
    "--gpus-per-trial 0.5: the inline runner": ({}, ["--gpus-per-trial", "0.5"]),
    "--data /no/such: folder /no/such is missing": ({}, ["--data", "/no/such"]),
    "--store /proc/none: cannot be created": ({}, ["--store", "/proc/none"]),
    "--wandb online: there is no key": ({}, ["--wandb", "online"]),
    "--wandb-project a/b/c": ({}, ["--wandb-project", "a/b/c"]),
    "study s: seeds=3: confirmed runs use the source_seeds=2 models of a source in turn": ({"source_seeds": 2, "seeds": 3}, []),
    "study s: seeds=1: confirmed runs use the source_seeds=2 models": ({}, ["--set", "source_seeds=2"]),
    "architecture 'own:net'": ({"fixed": {"architecture": NET}}, []),
}
BY_FILES: Mapping[str, Change] = {  # unusable folders
    "study folder FOLDER/runs/s is being written by another run": held,
    "FOLDER/runs/s: records have schema 999": later_records,
    "--out: folder FOLDER/runs/s cannot be created: Not a directory": file_at("runs"),
    "--store FOLDER/store: cannot be created": file_at("store"),
    "--store FOLDER/store: cannot be written": file_at("store/temporary"),
    "FOLDER/target/classes.txt": lambda folder: (folder / "target" / "classes.txt").write_text("one\n"),
    "folder:FOLDER/target: FOLDER/target/classes.txt is missing": lambda folder: (folder / "target" / "classes.txt").unlink(),
    "FOLDER/target/images/000.png: has no mask": without_mask,
    "dataset 'folder:FOLDER/target': folder FOLDER/target is missing": lambda folder: shutil.rmtree(folder / "target"),
    "FOLDER/target/images/000.png: 000.bmp has the same name": one_name_twice,
    "FOLDER/target/groups.csv": lambda folder: (folder / "target" / "groups.csv").write_text("nobody,1\n"),
    "dataset 'folder:FOLDER/target': every mask shows only 'figure'": one_class,
}


@pytest.fixture
def place(tmp_path: Path, ellipses: Path, boxes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and a source to damage, no W&B key, and a home folder without files."""
    shutil.copytree(ellipses, tmp_path / "target")
    shutil.copytree(boxes, tmp_path / "source")
    (tmp_path / "study.py").write_text("no weights")
    (tmp_path / "home").mkdir()
    for name in [name for name in os.environ if name.startswith(("WANDB_", "NETRC"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def named(text: str, folder: Path) -> str:
    """Return a text with its placeholders replaced by paths."""
    for word, path in (("SOURCE", "source"), ("TARGET", "target"), ("STUDY", "study.py")):
        text = text.replace(word, str(folder / path))
    return text.replace("FOLDER", str(folder))


def rejections(study: Study, folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Return the error lines of a rehearsal, a plan and a run; each must exit with 2."""
    lines = []
    for mode in MODES:
        assert call(study, folder, *arguments, *mode) == 2, (mode, capsys.readouterr())
        lines += [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return lines


@pytest.mark.parametrize("message", BY_SETTING)
def test_mistakes_of_a_study_are_rejected_alike(place: Path, capsys: pytest.CaptureFixture[str], message: str) -> None:
    """A mistake in a study or on its command line gives the same line and exit code for a rehearsal, a plan and a run."""
    changes, arguments = BY_SETTING[message]
    study = declared(place / "target", place / "source", **changes)
    lines = rejections(study, place, capsys, *(named(text, place) for text in arguments))
    assert lines == [lines[0]] * 3
    assert lines[0].startswith(f"error: {named(message, place)}")


@pytest.mark.parametrize("message", BY_FILES)
def test_unusable_folders_are_rejected_alike(place: Path, capsys: pytest.CaptureFixture[str], message: str) -> None:
    """An unusable folder gives the same line and exit code for a rehearsal, a plan and a run."""
    study = declared(place / "target", place / "source")
    kept = BY_FILES[message](place)
    lines = rejections(study, place, capsys)
    assert lines == [lines[0]] * 3, kept
    assert lines[0].startswith(f"error: {named(message, place)}")


def test_a_plan_names_the_data_that_it_did_not_decode(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes that only decoding shows are rejected by a rehearsal and a run; a plan, which decodes nothing, names the
    datasets."""
    wrong_mask(place)
    study = declared(place / "target", place / "source")
    assert call(study, place, "--plan") == 0
    shown = capsys.readouterr().out
    assert f"not decoded yet: folder:{place}/source, folder:{place}/target; their images and masks are unchecked" in shown
    refused = []
    for mode in (["--check"], []):
        assert call(study, place, *mode) == 2
        refused += [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert refused[0] == refused[1]
    assert "masks/000.png" in refused[0]


def snapshot(folder: Path) -> dict[str, int]:
    """Return every file and folder below a folder, except a store, with the time of its last change."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if (folder / "store") not in (path, *path.parents) and path.is_file()
    } | {str(path): 0 for path in folder.rglob("*") if path.is_dir() and (folder / "store") not in (path, *path.parents)}


def test_a_plan_writes_nothing_outside_its_store(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Planned before and after a study was run, also with a mirror, no file outside the store is new or changed."""
    study = declared(place / "target", place / "source", compare={"source": ["random"]})
    before = snapshot(place)
    assert call(study, place, "--plan", "--wandb", "offline") == 0
    assert snapshot(place) == before
    assert call(study, place) == 0
    before = snapshot(place)
    assert call(study, place, "--plan", "--json", "--wandb", "offline") == 0
    assert snapshot(place) == before
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["trials_done"] == 2


FIELDS = {  # sweeps/README.md documents them
    **dict.fromkeys(("study", "device", "runs_on"), str),
    **dict.fromkeys(("cells", "folds", "trials", "tuning_trials", "confirmation_trials", "trials_done"), int),
    **dict.fromkeys(("stages", "stages_in_store", "workers"), int),
    **dict.fromkeys(
        ("cell_names", "stage_list", "score_list", "data_absent", "absent_reasons", "data_undecoded", "remarks"), list
    ),
    "seconds": float,
    "declared": dict,
    "prediction": dict,
    "budget": type(None),  # without limits
}


def test_the_plan_for_programs_has_its_documented_fields(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--plan --json` prints one JSON object with these fields and types, and nothing else on stdout."""
    assert call(declared(place / "target", place / "source"), place, "--plan", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert {name: type(value) for name, value in plan.items()} == FIELDS
    assert plan["cell_names"] == ["source=random", f"source=supervised:folder:{place}/source"]
    assert plan["stage_list"][0].keys() == {"name", "model", "seed", "settings", "in_store"}
    assert plan["score_list"][0].keys() == {"name", "done"}
    assert plan["seconds"] > 0
    page = (Path(__file__).parents[2] / "sweeps" / "README.md").read_text(encoding="utf-8")
    table = page.partition("### The plan as JSON")[2].partition("\n#")[0]
    assert [name for name in FIELDS if f"`{name}`" not in table] == []


CHANGED: Mapping[str, tuple[dict[str, Any], str]] = {
    "a fixed setting": ({"fixed": {"batch_size": 5}}, "batch_size=5"),
    "a setting of stages": ({"fixed": {"source_learning_rate": 0.02}}, "learning_rate=0.02"),
    "a tuned range": ({"tune": {"learning_rate": Uniform(1e-4, 2e-2)}}, "0.02"),
    "the number of seeds": ({"seeds": 2}, "seeds: 2"),
    "the number of source seeds": ({"source_seeds": 2, "seeds": 2}, "source_seeds: 2"),
    "the number of trials": ({"trials_per_cell": 2}, "trials_per_cell: 2"),
    "the protocol": ({"of_target": {"protocol": "70-10-20"}}, "protocol=70-10-20"),
    "the foreground": ({"of_target": {"foreground": "background"}}, "foreground=background"),
    "the class map": ({"of_target": {"class_map": {"figure": ["figure"]}}}, "class_map=figure=figure"),
    "the groups": ({"of_target": {"groups": "^(.*).$"}}, "groups=^(.*).$"),
    "leakage": ({"of_target": {"leakage": "report"}}, "leakage=report"),
}


@pytest.mark.parametrize("what", CHANGED)
def test_plans_that_differ_in_one_value_print_the_difference(place: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    """The plan of a study that differs in one value has a line with that value, which the other plan lacks."""
    changes, value = CHANGED[what]
    shown = []
    for study in (declared(place / "target", place / "source"), declared(place / "target", place / "source", **changes)):
        assert call(study, place, "--plan") == 0
        shown.append(capsys.readouterr().out.splitlines())
    assert [line for line in shown[1] if value in line and line not in shown[0]]


def test_stages_of_the_same_name_are_distinguished(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two stages that differ in one setting have lines that show it."""
    base = declared(place / "target", place / "source")
    study = replace(base, compare={"source": base.grids[0]["source"], "source_steps": [3, 4]})
    assert call(study, place, "--plan") == 0
    stages = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  stage ")]
    assert len(set(stages)) == 2
    assert [f"steps={steps}" in line for steps, line in zip((3, 4), stages, strict=True)] == [True, True]


def test_a_plan_counts_failed_trials_as_open_with_retry_failed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--retry-failed`, failed trials are not done."""
    study = declared(place / "target", place / "source", compare={"source": ["random"]}, fixed={"optimizer": "adamw"})
    diverges = ["--set", "learning_rate=99", "--set", "weight_decay=1e6", "--set", "steps=8"]
    assert call(study, place, *diverges) == 1
    done = []
    for again in ([], ["--retry-failed"]):
        capsys.readouterr()
        assert call(study, place, *diverges, *again, "--plan", "--json") == 0
        done.append(json.loads(capsys.readouterr().out)["trials_done"])
    assert done[1] == 0 < done[0]
