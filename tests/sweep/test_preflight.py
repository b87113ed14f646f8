"""What a plan and a run refuse alike."""

import pytest

from segsweep.config import Study, Target
from segsweep.data.table import DataRoots
from segsweep.errors import UserError
from segsweep.store.folder import Store
from segsweep.sweep.catalog import Catalog
from segsweep.sweep.preflight import preflight

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
        preflight(study, Catalog(DataRoots(), Store(tmp_path / "store"), lambda *_: None))

    return run


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"batch_size": 1}, rf"^batch_size=1: {POOLED} normalises over the batch at 32 px and needs at least 2 images$"),
        ({"fraction": 0.04}, r"^fraction=0.04 leaves one of 24 training images: .* needs at least 2 images$"),
        ({"architecture": "unet-resnet18", "batch_size": 1}, r"^batch_size=1: unet-resnet18 normalises over the batch at 32 px"),
        ({"source": "supervised:coco", "source_batch_size": 1}, r"^source_batch_size=1: "),
        ({"source": "supervised:coco@1"}, r"^source supervised:coco@1: "),
    ],
)
def test_a_batch_of_one_is_refused_where_the_batch_is_normalised(check, fixed, message):
    """One image in a batch, by its size, its fraction or its limit, is one line before anything is trained."""
    compare = {"source": [fixed.pop("source")]} if "source" in fixed else None
    with pytest.raises(UserError, match=message):
        check(fixed, compare)


@pytest.mark.parametrize(
    "fixed",
    [
        {"architecture": "unet16", "batch_size": 1},
        {"architecture": "unet-resnet18", "image_px": 64, "batch_size": 1},
        {"architecture": "unet-resnet18", "batch_size": 1, "freeze": "encoder"},
        {"batch_size": 2},
        {"fraction": 0.08},
    ],
)
def test_a_batch_of_one_is_allowed_elsewhere(check, fixed):
    """Where every layer sees several numbers per channel, or normalises by frozen statistics, one image is a batch."""
    check(fixed)


def test_a_test_at_the_original_size_needs_whole_images(check):
    """With a fit that cuts images a test at the masks' own sizes is refused, with the remedy."""
    check({"test_size": "original", "fit": "nearest"})
    with pytest.raises(UserError, match=r"^test_size=original: with fit=crop parts .* take fit=resize or nearest, or test"):
        check({"test_size": "original", "fit": "crop"})


def test_the_plan_refuses_it_too(ellipses, tmp_path, capsys):
    """`--plan` ends with the same line and exit code 2."""
    from segsweep import main

    fixed = {"image_px": 32, "architecture": POOLED, "epochs": 1, "batch_size": 1}
    study = Study(name="s", target=Target(f"folder:{ellipses}"), compare={"source": ["random"]}, fixed=fixed)
    with pytest.raises(SystemExit) as ended:
        main(study, arguments=["--plan", "--runner", "inline", "--out", str(tmp_path / "runs")])
    assert ended.value.code == 2
    assert "batch_size=1" in capsys.readouterr().err
