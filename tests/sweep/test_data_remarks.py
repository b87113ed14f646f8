"""Remarks on data before a run; no stage trains on a validation or test image of its target."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segsweep
from segsweep.config import Choice, Study, Target
from segsweep.config.work import StageSpec
from segsweep.context import ExecutionContext
from segsweep.data.identity import OF_PIXELS
from segsweep.data.table import DataRoots
from segsweep.errors import UserError
from segsweep.records import load
from segsweep.stage import source_sets
from segsweep.store.folder import FolderStore
from segsweep.sweep.catalog import Catalog, target_split
from segsweep.sweep.data_remarks import data_remarks
from segsweep.sweep.plan import Plan, make_plan
from segsweep.sweep.preflight import check_data
from segsweep.sweep.preparation import prepare_all
from segsweep.sweep.study_values import dev_shares
from segsweep.training.device import Device

PX = 32


def declared(target: Path, *sources: str, protocol: str = "60-20-20", **options) -> Study:
    of_target = {name: options.pop(name) for name in ("groups", "leakage") if name in options}
    fixed = {"architecture": "unet4", "image_px": PX, "epochs": 1, "batch_size": 8, **options.pop("fixed", {})}
    return Study(
        "s",
        Target(f"folder:{target}", protocol=protocol, **of_target),
        compare=options.pop("compare", {"source": list(sources or ["random"])}),
        fixed=fixed,
        seeds=1,
        trials_per_cell=1,
        **options,
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)


def planned(study: Study, catalog: Catalog) -> Plan:
    """Prepare the data of a study and plan it, as a run does."""
    prepare_all(study, catalog)
    return make_plan(study, catalog.key, left_out=lambda stage, settings: catalog.left_out(study, stage, settings))


def copied(folder: Path, to: Path, numbers=None) -> Path:
    """Copy the images and masks of a folder under other names, every second image as BMP."""
    for part in ("images", "masks"):
        (to / part).mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "classes.txt", to)
    for number in range(40) if numbers is None else numbers:
        image = Image.open(folder / "images" / f"{number:03d}.png")
        image.save(to / "images" / f"copy{number:03d}.{'bmp' if number % 2 else 'png'}")
        shutil.copy(folder / "masks" / f"{number:03d}.png", to / "masks" / f"copy{number:03d}.png")
    return to


def seen_by(spec: StageSpec, catalog: Catalog) -> set[bytes]:
    """Return the decoded images that a stage trains and validates on, as read from the store."""
    sets = source_sets(spec, ExecutionContext(catalog.store, Device("cpu", 1)))
    return {images.data.identity[member, OF_PIXELS].tobytes() for images in sets for member in images.members}


def held_out(study: Study, catalog: Catalog) -> set[bytes]:
    """Return the decoded validation and test images of the target, including copies that are removed from them."""
    found: set[bytes] = set()
    for _, cell in study.cells():
        data = catalog.prepare(study.target_name, None, cell.image_px)
        for share in dev_shares(study, cell):
            split = target_split(data, study, share, None)
            found |= {data.identity[member, OF_PIXELS].tobytes() for part in (split.val, split.test) for member in part}
    return found


@pytest.mark.parametrize("kind", ["supervised", "simclr"])
@pytest.mark.parametrize(
    ("protocol", "fixed"),
    [
        ("60-20-20", {}),
        ("60-20-20", {"source_split": "all", "source_image_px": 48}),
        ("holdout-20", {}),
        ("holdout-20", {"dev_share": 0.4}),
        ("50-25-25", {}),
    ],
)
def test_a_copy_of_the_target_shows_no_held_out_image(ellipses, tmp_path, catalog, kind, protocol, fixed):
    """A source that is a copy of the target, with other names and formats, trains on none of its validation and test images."""
    copy = copied(ellipses, tmp_path / "copy")
    study = declared(ellipses, f"{kind}:folder:{copy}", f"{kind}:folder:{copy}@5", protocol=protocol, fixed=fixed)
    plan, held = planned(study, catalog), held_out(study, catalog)
    assert len(plan.stages()) == 2
    for spec in plan.stages():
        seen = seen_by(spec, catalog)
        assert len(spec.without) == len(held)
        assert not seen & held
        assert len(seen) > 1


@pytest.mark.parametrize("leakage", ["prevent", "report"])
def test_simclr_learns_from_the_targets_own_training_images(ellipses, tmp_path, catalog, leakage):
    """SimCLR on the target's own folder uses only its training images, even if leakage is only reported."""
    for folder, protocol in ((ellipses, "60-20-20"), (with_lists(copied(ellipses, tmp_path / "lists")), "official")):
        study = declared(folder, f"simclr:folder:{folder}", protocol=protocol, leakage=leakage)
        (spec,) = planned(study, catalog).stages()
        assert len(seen_by(spec, catalog)) > 1
        assert not seen_by(spec, catalog) & held_out(study, catalog)
        (line,) = data_remarks(study, catalog)
        assert line == f"source {spec.stage}: this is the target's own dataset; its 16 validation and test images are removed"
    with pytest.raises(UserError, match="is the target's own dataset"):
        check_data(declared(ellipses, f"supervised:folder:{ellipses}", leakage=leakage), catalog, decode=True)


def with_lists(folder: Path) -> Path:
    names = sorted(path.stem for path in (folder / "images").iterdir())
    for split, part in (("train", names[:24]), ("val", names[24:32]), ("test", names[32:])):
        (folder / f"{split}.txt").write_text("\n".join(part))
    return folder


def test_every_stage_of_a_chain_and_every_tuned_share_counts(ellipses, boxes, tmp_path, catalog):
    """In a chain, each stage removes its own copies; with a tuned dev_share, those of images that any trial holds out."""
    half = copied(ellipses, tmp_path / "half", range(20))
    study = declared(
        ellipses,
        f"simclr:folder:{half}+supervised:folder:{boxes}",
        protocol="holdout-20",
        tune={"dev_share": Choice((0.4, 0.6, 0.8))},
    )
    study = replace(study, trials_per_cell=3)
    plan = planned(study, catalog)
    first, last = plan.stages()
    assert first.without
    assert not last.without
    shares = {trial.settings.dev_share for trial in plan.cells[0].tuning}
    assert len(shares) > 1
    for share in shares:
        fixed = declared(ellipses, protocol="holdout-20", fixed={"dev_share": share})
        assert not seen_by(first, catalog) & held_out(fixed, catalog)


def test_nothing_shared_changes_no_identity(ellipses, boxes, tmp_path, catalog):
    """A source without copies is the same stage in all studies; a source with copies differs by protocol."""
    alone = planned(declared(ellipses, f"supervised:folder:{boxes}"), catalog).stages()[0]
    assert alone.without == ()
    assert alone.spec_id == replace(alone, without=()).spec_id != replace(alone, without=(1,)).spec_id
    copy = f"supervised:folder:{copied(ellipses, tmp_path / 'copy')}"
    studies = [declared(ellipses, copy, protocol=protocol) for protocol in ("60-20-20", "50-25-25")]
    assert len({planned(study, catalog).stages()[0].spec_id for study in studies}) == 2


def test_groups_and_leakage_are_part_of_a_trial_where_they_are_set(ellipses, catalog):
    """A trial's id changes with a groups pattern and with leakage='report', and otherwise not."""
    studies = [
        declared(ellipses),
        declared(ellipses, groups="^(..)"),
        declared(ellipses, groups="(.)$"),
        declared(ellipses, leakage="report"),
    ]
    prepare_all(studies[0], catalog)
    cells = [planned(study, catalog).cells[0] for study in studies]
    assert len({cell.trial("confirm", cell.settings, 1).trial_id for cell in cells}) == 4
    published = planned(declared(ellipses, leakage="report", groups="^(..)"), catalog).cells[0]
    assert published.trial("confirm", published.settings, 1).trial_id == cells[3].trial("confirm", cells[3].settings, 1).trial_id


def test_a_run_removes_copies_and_records_their_number(ellipses, tmp_path, capsys):
    """A run on a copy of the target reports shared images, records their number, and keeps the groups pattern in the study."""
    copy = copied(ellipses, tmp_path / "copy")
    study = declared(ellipses, f"supervised:folder:{copy}", groups="^(..)")
    records = segsweep.run(study, out=tmp_path / "runs", runner="inline", device="cpu", threads=1)
    output = capsys.readouterr().err
    (stage,) = records.stages.to_dict("records")
    (trial,) = records.trials.to_dict("records")
    held = 40 - trial["train_images"]
    assert stage["dropped_duplicates"] == held
    assert stage["train_images"] + stage["val_images"] == 40 - held
    assert trial["dropped_duplicates"] == 0
    assert f"{held} of 40 images are identical to validation or test images of the target (copy" in output
    assert "all its images are images of the target" in output
    assert "each group is in one split: " in output
    target = json.loads((tmp_path / "runs" / "s" / "study.json").read_text())["target"]
    assert (target["groups"], target["leakage"]) == ("^(..)", "prevent")
    assert load(tmp_path / "runs" / "s").trials["status"].tolist() == ["finished"]


def test_copies_in_the_targets_splits_are_reported(ellipses, tmp_path, catalog):
    """Before a run, copies are counted by split, up to three pairs are named, and their treatment is stated."""
    folder = with_lists(copied(ellipses, tmp_path / "mine"))
    names = sorted((folder / "images").iterdir())
    for one, other in ((0, 32), (1, 33), (2, 34), (3, 35), (4, 24), (5, 6)):
        content = Image.open(names[one])
        content.save(names[other])
        shutil.copy(folder / "masks" / f"{names[one].stem}.png", folder / "masks" / f"{names[other].stem}.png")
    lines = remarks_of(declared(folder, protocol="official"), catalog)
    assert lines == [
        "4 of 8 test images and 1 of 8 val images are identical to images of an earlier split (copy032 = copy000, "
        "copy033 = copy001, copy034 = copy002, ...): 5 copies are removed from training and 0 from validation",
        "1 of 19 train images repeat another train image (copy006 = copy005); all are kept",
    ]
    published = remarks_of(declared(folder, protocol="official", leakage="report"), catalog)
    assert published[0].endswith(": nothing is moved (leakage='report'), so scores may be too high")
    Image.fromarray(np.eye(32, dtype=np.uint8)).save(folder / "masks" / "copy000.png")
    lines = remarks_of(declared(folder, protocol="official"), catalog)
    assert any(line.startswith("1 pairs of identical images have different masks (copy000 = copy032)") for line in lines)


def remarks_of(study: Study, catalog: Catalog) -> list[str]:
    catalog = Catalog(catalog.roots, catalog.store, catalog.progress)  # as another command does
    prepare_all(study, catalog)
    return data_remarks(study, catalog)


def test_groups_are_reported(ellipses, tmp_path, catalog):
    """The distribution of groups over splits is reported; groups that official lists or a published study split are counted and
    named."""
    (line,) = remarks_of(declared(ellipses, groups="(.)$"), catalog)
    assert line == "each group is in one split: 6 train, 2 val, 2 test groups (24, 8, 8 images)"
    folder = with_lists(copied(ellipses, tmp_path / "mine"))
    (line,) = remarks_of(declared(folder, protocol="official", groups="(.)$"), catalog)
    assert line.startswith(
        "10 of 10 groups have images in more than one of train, val and test (0, 1, 2, ...): protocol 'official'"
    )
    assert "'60-20-20'" in line
    (line,) = remarks_of(declared(ellipses, groups="(.)$", leakage="report"), catalog)
    assert "10 groups have images in more than one" in line
    assert line.endswith("nothing is moved (leakage='report'), so scores may be too high")


def test_shared_images_are_trained_on_as_published(ellipses, tmp_path, catalog):
    """With leakage='report', a source keeps the images that it shares with the target, and a line states it."""
    copy = copied(ellipses, tmp_path / "copy", range(10))
    study = declared(ellipses, f"supervised:folder:{copy}", leakage="report")
    (spec,) = planned(study, catalog).stages()
    assert spec.without == ()
    assert seen_by(spec, catalog) & held_out(study, catalog)
    (line,) = [line for line in remarks_of(study, catalog) if line.startswith("source") and "validation or test" in line]
    assert line.endswith("they are trained on (leakage='report')")


def test_a_target_of_unusable_masks_is_rejected_before_a_run(ellipses, boxes, tmp_path, catalog):
    """Masks of 0 and 255 are rejected for a target and a supervised source, but not for SimCLR, which reads no masks."""
    spoilt = copied(boxes, tmp_path / "spoilt")
    for path in (spoilt / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * np.uint8(255)).save(path)
    for study in (declared(spoilt), declared(ellipses, f"supervised:folder:{spoilt}")):
        with pytest.raises(UserError, match="masks hold only 0 and 255"):
            segsweep.run(study, out=tmp_path / "runs", runner="inline", device="cpu", threads=1)
    assert not (tmp_path / "runs").exists()
    prepare_all(declared(ellipses, f"simclr:folder:{spoilt}"), catalog)


def test_too_few_groups_are_rejected_by_a_plan(ellipses, tmp_path, capsys):
    """--plan rejects too few groups just as a run does, before anything is prepared."""
    study = declared(ellipses, groups="^(0)")
    for arguments in (["--plan"], []):
        with pytest.raises(SystemExit) as ended:
            segsweep.main(study, arguments=[*arguments, "--out", str(tmp_path / "runs"), "--runner", "inline", "--threads", "1"])
        assert ended.value.code == 2
        assert "40 images in 1 group (0) cannot be divided into 3 parts" in capsys.readouterr().err


def test_sizes_of_a_plan_are_those_of_the_split(ellipses, tmp_path, catalog):
    """The numbers of images for a plan's time are those of the run, by groups and without copies."""
    folder = with_lists(copied(ellipses, tmp_path / "mine"))
    shutil.copy(folder / "images" / "copy000.png", folder / "images" / "copy032.png")
    by_groups = declared(ellipses, groups="^(..)")
    assert catalog.target_sizes(by_groups, None) == (20, 10, 10)
    official = declared(folder, protocol="official")
    assert catalog.target_sizes(official, None) == (24, 8, 8)  # copies are unknown before preparation
    prepare_all(official, catalog)
    again = Catalog(catalog.roots, catalog.store, catalog.progress)
    assert again.target_sizes(official, None) == (23, 8, 8)


@pytest.mark.parametrize("part", ["val", "test"])
def test_held_out_masks_that_are_ignored_everywhere_are_rejected(ellipses, tmp_path, catalog, part):
    """Preparation, and a plan of prepared data, reject a validation or test split in which every pixel is ignored."""
    folder = shutil.copytree(ellipses, tmp_path / "ellipses")
    members = {"train": range(24), "val": range(24, 32), "test": range(32, 40)}
    for split, numbers in members.items():
        (folder / f"{split}.txt").write_text("\n".join(f"{number:03d}" for number in numbers))
    for number in members[part]:
        path = folder / "masks" / f"{number:03d}.png"
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 255)).save(path)
    study = declared(folder, protocol="official")
    message = (
        f"^dataset .*: all pixels of the 8 {part} masks at {PX} px are 255, which is ignored; write the class numbers 0..1, or"
    )
    with pytest.raises(UserError, match=message):
        prepare_all(study, catalog)
    with pytest.raises(UserError, match=message):
        data_remarks(study, catalog)


def test_the_held_out_masks_of_every_tuned_share_are_checked(ellipses, catalog, monkeypatch):
    """The held-out masks of each development share that a trial can have are checked before a run."""
    seen = []
    monkeypatch.setattr(
        "segsweep.sweep.preparation.check_split_masks", lambda _, split: seen.append(len(split.train) + len(split.val))
    )
    study = declared(ellipses, protocol="holdout-20", tune={"dev_share": Choice(0.3, 0.5)})
    prepare_all(replace(study, trials_per_cell=4), catalog)
    assert {14, 21} <= set(seen)  # 11 and 18 training images, 3 validation images
