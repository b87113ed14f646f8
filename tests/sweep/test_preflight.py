"""The checks that a plan and a run share."""

import itertools
import shutil

import numpy as np
import pytest
from PIL import Image

from segsweep import main
from segsweep.config import Choice, Study, Target, Uniform
from segsweep.data.originals import Originals
from segsweep.data.table import DataRoots
from segsweep.errors import UserError
from segsweep.store.contents import MASKS
from segsweep.store.folder import FolderStore
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.options import Options
from segsweep.sweep.plan import make_plan
from segsweep.sweep.points import tuning_points
from segsweep.sweep.preflight import check_data, check_study
from segsweep.sweep.preparation import prepare_all
from segsweep.sweep.setting_checks import check_settings

POOLED = "deeplabv3plus-resnet18"


@pytest.fixture
def check(ellipses, tmp_path):
    def run(fixed, compare=None, **values) -> None:
        study = Study(
            name="s",
            target=Target(f"folder:{ellipses}"),
            compare=compare or {"source": ["random"]},
            fixed={"image_px": 32, "architecture": POOLED, "epochs": 1, **fixed},
            **values,
        )
        check_settings(study, Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None))

    return run


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"batch_size": 1}, rf"^batch_size=1: {POOLED} normalises over the batch at 32 px and needs at least 2 images$"),
        ({"fraction": 0.04}, r"^fraction=0.04 leaves one of 24 training images: .* needs at least 2 images$"),
        ({"architecture": "unet-resnet18", "batch_size": 1}, r"^batch_size=1: unet-resnet18 normalises over the batch at 32 px"),
        ({"source": "supervised:coco", "source_batch_size": 1}, r"^source_batch_size=1: "),
        ({"architecture": "unet-resnet18", "freeze": "encoder", "fraction": 0.04}, r"^fraction=0.04 leaves one of 24"),
        (
            {"architecture": "unet-resnet18", "batch_size": 1, "freeze": "encoder", "unfreeze_every_epochs": 1},
            r"^batch_size=1: unet-resnet18 normalises",
        ),
        (
            {"architecture": "unet-resnet18", "batch_size": 1, "freeze": "encoder", "frozen_norm": "train"},
            r"^batch_size=1: unet-resnet18 normalises",
        ),
        ({"source": "supervised:coco@1"}, r"^source supervised:coco@1: "),
    ],
)
def test_a_batch_of_one_is_rejected_with_batch_normalisation(check, fixed, message):
    """A batch of one image, by its size, a fraction or a limit, is a one-line error before anything is trained."""
    compare = {"source": [fixed.pop("source")]} if "source" in fixed else None
    with pytest.raises(UserError, match=message):
        check(fixed, compare)


@pytest.mark.parametrize(
    "fixed",
    [
        {"architecture": "unet4", "batch_size": 1},
        {"architecture": "unet-resnet18", "image_px": 64, "batch_size": 1},
        {"architecture": "unet-resnet18", "batch_size": 1, "freeze": "encoder"},
        {"batch_size": 2},
        {"fraction": 0.08},
    ],
)
def test_a_batch_of_one_is_allowed_without_batch_normalisation(check, fixed):
    """If every layer sees several numbers per channel, or uses frozen statistics, a batch of one image is allowed."""
    check(fixed)


def test_a_tuned_fraction_is_checked_at_its_points(check):
    """A tuning point whose fraction leaves one image is rejected, although the ends of the range leave none and many."""
    tune = {"fraction": Uniform(0.01, 0.5)}
    points = [round(24 * point["fraction"]) for point in tuning_points(tune, 30)]
    assert 1 in points
    with pytest.raises(UserError, match=r"^fraction=0.0\d+ leaves one of 24 training images: "):
        check({}, tune=tune, trials_per_cell=30)
    check({}, tune={"fraction": Choice(0.5, 1.0)})


def test_every_fold_is_checked(ellipses, tmp_path):
    """A fold with one training image is rejected, even if the first fold has several."""
    folder = shutil.copytree(ellipses, tmp_path / "grouped")
    names = sorted(path.stem for path in (folder / "images").iterdir())
    sizes = {"a": 1, "b": 1, "c": 38}  # the fold that tests on c leaves two images, one of them for validation
    groups = [group for group, size in sizes.items() for _ in range(size)]
    (folder / "groups.csv").write_text("\n".join(map(",".join, zip(names, groups, strict=True))))
    fixed = {"image_px": 32, "architecture": POOLED, "epochs": 1}
    study = Study(name="s", target=Target(f"folder:{folder}", protocol="3-fold"), compare={"source": ["random"]}, fixed=fixed)
    catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)
    prepare_all(study, catalog)
    assert sorted(catalog.target_sizes(study, None, fold)[0] for fold in (1, 2, 3)) == [1, 38, 38]
    with pytest.raises(UserError, match=r"leaves one of 1 training images of fold \d: "):
        check_settings(study, catalog)


@pytest.mark.parametrize("kind", ["supervised", "simclr"])
def test_a_source_of_one_image_is_rejected_before_it_is_decoded(ellipses, tmp_path, check, kind):
    """A source with one training image, by its list, is a one-line error."""
    folder = shutil.copytree(ellipses, tmp_path / "few")
    for part, number in itertools.product(("images", "masks"), range(2, 40)):
        (folder / part / f"{number:03d}.png").unlink()
    (folder / "train.txt").write_text("000\n")
    (folder / "val.txt").write_text("001\n")
    with pytest.raises(UserError, match=rf"^source {kind}:folder:.*few: too few training images: 1; needs at least 2$"):
        check({}, {"source": [f"{kind}:folder:{folder}"]})


def test_a_test_at_the_original_size_needs_whole_images(check):
    """With a fit that crops images, a test at the masks' original sizes is rejected, with the remedy."""
    check({"test_size": "original", "fit": "nearest"})
    with pytest.raises(UserError, match=r"^test_size=original: fit=crop crops .* use fit=resize or nearest, or test"):
        check({"test_size": "original", "fit": "crop"})


def test_a_test_at_the_original_size_has_its_masks_prepared(ellipses, tmp_path):
    """Preparation stores the target's masks at their original sizes, and every trial of the plan names them."""
    study = Study(
        name="s",
        target=Target(f"folder:{ellipses}"),
        compare={"source": ["random"]},
        fixed={"image_px": 16, "architecture": POOLED, "epochs": 1, "test_size": "original"},
    )
    catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)
    prepare_all(study, catalog)
    (cell,) = make_plan(study, catalog.key, masks_key=catalog.masks_key).cells
    assert {trial.target_masks for trial in (*cell.tuning, *cell.confirm(cell.settings))} == {catalog.masks_key(study)}
    masks = Originals.open(catalog.store.open(MASKS, catalog.masks_key(study)).folder)
    assert np.array_equal(masks.mask(3), np.asarray(Image.open(ellipses / "masks" / "003.png")))


REFUSED = {
    "batch_size=1: deeplabv3plus-resnet18 normalises over the batch": ({"batch_size": 1}, {}),
    "fraction=0.04 leaves one of 24 training images": ({"fraction": 0.04}, {}),
    "test_size=original: fit=crop crops": ({"test_size": "original", "fit": "crop"}, {}),
    "Target foreground='lesion': allowed are background, figure": ({}, {"foreground": "lesion"}),
    "Target class_map: unknown name 'lesion'": ({}, {"class_map": {"lesion": ["figure"]}}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_plan_check_and_run_reject_it_before_anything_is_decoded(ellipses, tmp_path, capsys, monkeypatch, message):
    """`--plan`, `--check` and a run end with the same line and exit code 2, and none of them has decoded an image."""
    fixed, of_target = REFUSED[message]
    fixed = {"image_px": 32, "architecture": POOLED, "epochs": 1, **fixed}
    study = Study(name="s", target=Target(f"folder:{ellipses}", **of_target), compare={"source": ["random"]}, fixed=fixed)
    monkeypatch.setattr("segsweep.data.decoding.read_checked", lambda *_: pytest.fail("an image was decoded"))
    lines = []
    for mode in (["--plan"], ["--check"], []):
        with pytest.raises(SystemExit) as ended:
            main(study, arguments=[*mode, "--runner", "inline", "--device", "cpu", "--out", str(tmp_path / "runs")])
        assert ended.value.code == 2
        lines.append(next(line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")))
    assert lines[0].startswith(f"error: {message}")
    assert lines == [lines[0]] * 3


def test_a_run_rejects_a_loss_and_a_source_before_anything_is_decoded(ellipses, tmp_path, monkeypatch):
    """Checks that need only the names of classes and datasets come before the first image is decoded."""
    folder = shutil.copytree(ellipses, tmp_path / "ellipses")
    (folder / "classes.txt").write_text("road\nfigure\n")
    monkeypatch.setattr("segsweep.data.decoding.read_checked", lambda *_: pytest.fail("an image was decoded"))
    catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)
    for source, loss, message in (
        (f"supervised:folder:{folder}", "cross_entropy", "is the target's own dataset"),
        ("random", "cross_entropy_foreground", "^loss=cross_entropy_foreground: needs"),
    ):
        fixed = {"image_px": 32, "architecture": POOLED, "epochs": 1, "loss": loss}
        study = Study(name="s", target=Target(f"folder:{folder}"), compare={"source": [source]}, fixed=fixed)
        with pytest.raises(UserError, match=message):
            check_data(study, catalog, decode=True)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_size_that_masks_decide_is_checked_once_they_are_decoded(ellipses, tmp_path, grouped):
    """A share that leaves one training image is rejected at once; with groups that are stratified by masks, after decoding."""
    target = Target(f"folder:{ellipses}", groups="^(.*).$" if grouped else None)
    fixed = {"image_px": 32, "architecture": POOLED, "epochs": 1, "fraction": 0.04}
    study = Study(name="s", target=target, compare={"source": ["random"]}, fixed=fixed)
    catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)
    if grouped:
        check_settings(study, catalog)
    with pytest.raises(UserError, match=r"^fraction=0.04 leaves one of \d+ training images"):
        check_data(study, catalog, decode=True)
    assert (catalog.find_target(study, next(study.cells())[1]) is not None) == grouped


def test_mistakes_are_reported_in_a_fixed_order(ellipses, tmp_path):
    """In a study with a mistake of every kind, correcting the reported one reveals the next, cheapest checks first."""
    folder = shutil.copytree(ellipses, tmp_path / "ellipses")
    (folder / "classes.txt").write_text("road\nfigure\n")
    Image.new("L", (32, 32), 9).save(folder / "masks" / "000.png")
    wrong = {"loss": "own:loss", "architecture": "unet-resnet999", "workers": 9, "foreground": "lesion", "fraction": 1e-3}
    named = (
        ("loss", "'own:loss' has no object", "cross_entropy_foreground"),
        ("architecture", "unknown encoder", POOLED),
        ("workers", "--workers-per-trial 9: batch_size=4", 1),
        ("foreground", "Target foreground='lesion'", None),
        ("fraction", "^fraction=0.001: leaves none", 1.0),
        ("loss", "^loss=cross_entropy_foreground: needs", "cross_entropy"),
    )

    def checked() -> None:
        settings = {name: wrong[name] for name in ("loss", "architecture", "fraction")}
        fixed = {"image_px": 32, "epochs": 1, "batch_size": 4, **settings}
        target = Target(f"folder:{folder}", foreground=wrong["foreground"])
        study = Study(name="s", target=target, compare={"source": ["random"]}, fixed=fixed)
        check_study(study, Options(workers_per_trial=wrong["workers"]))
        check_data(study, Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None), decode=True)

    for name, message, right in named:
        with pytest.raises(UserError, match=message):
            checked()
        wrong[name] = right
    with pytest.raises(UserError, match=r"masks/000\.png"):
        checked()


@pytest.mark.parametrize("role", ["fixed", "tuned"])
def test_one_logit_is_rejected_for_other_than_two_classes(tmp_path, role):
    """A target of three classes with output=sigmoid, fixed or tuned, is a one-line error before anything is decoded."""
    values = {"fixed": {"output": "sigmoid"}} if role == "fixed" else {"tune": {"output": Choice("softmax", "sigmoid")}}
    for classes, refused in (("trimap", True), ("foreground", False)):
        target = Target("generated_pets", classes=classes, protocol="70-10-20")
        study = Study(name="s", target=target, compare={"image_px": [32]}, **values)
        catalog = Catalog(DataRoots(), FolderStore(tmp_path / "store"), lambda *_: None)
        if refused:
            message = r"^output=sigmoid: one logit separates two classes, but generated_pets has 3: .*; use output=softmax$"
            with pytest.raises(UserError, match=message):
                check_settings(study, catalog)
        else:
            check_settings(study, catalog)
