"""`segsweep datasets` and `segsweep prepare`."""

import hashlib
import io
import json
import shutil
import tarfile
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from file_server import FileServer, file_server
from PIL import Image

from segsweep.cli.commands import command_line
from segsweep.data.download import BY_HAND, DOWNLOADS
from segsweep.data.scenes import GENERATED
from segsweep.data.table import DATASETS


def call(*arguments: str) -> int:
    """Run the command in this process and return its exit code."""
    try:
        command_line(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def write_pets(folder: Path) -> None:
    """Write Oxford-IIIT Pet with four images, red on the pet and blue elsewhere."""
    for part in ("images", "annotations/trimaps"):
        (folder / part).mkdir(parents=True)
    trimap = np.full((20, 20), 2, np.uint8)
    trimap[:, :5] = 1
    picture = np.where(trimap[..., None] == 1, (255, 0, 0), (0, 0, 255)).astype(np.uint8)
    for split, names in (("trainval", ("Bengal_1", "Bengal_2")), ("test", ("pug_1", "pug_2"))):
        for name in names:
            Image.fromarray(picture).save(folder / "images" / f"{name}.jpg", "PNG")
            Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
        (folder / "annotations" / f"{split}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with four pets."""
    write_pets(tmp_path / "root" / "oxford-iiit-pet")
    return tmp_path / "root"


def test_datasets_lists_what_is_found(tmp_path: Path, ellipses: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Known datasets are listed with their layout, those of datasets.toml with their folder."""
    (tmp_path / "coco2017" / "annotations").mkdir(parents=True)
    (tmp_path / "datasets.toml").write_text(f'mine = "{ellipses}"\n')
    assert call("datasets", "--data", str(tmp_path)) == 0
    output = capsys.readouterr().out
    assert f"found in {tmp_path / 'coco2017'}" in output
    assert "not found; pass --data, or prepare it with --download" in output
    assert f"read as folder:{ellipses}" in output
    assert f"found in {ellipses}: 40 images" in output
    assert "evaluated (19), raw (34)" in output
    assert all(name in output for name in (*DATASETS, *GENERATED, "folder:PATH"))


def test_datasets_for_a_program(root: Path, ellipses: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` has one row per dataset: classes per scheme, layout, folder or null, number of images or null, downloadable."""
    assert call("datasets", "--data", str(root), "--data", f"mine={ellipses}", "--json") == 0
    rows = {row.pop("name"): row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == [*DATASETS, *GENERATED, "mine"]
    assert rows["pets"] == {
        "schemes": {"foreground": 2, "trimap": 3},
        "layout": DATASETS["pets"].layout,
        "folder": str(root / "oxford-iiit-pet"),
        "images": 4,
        "downloadable": True,
        "problem": None,
    }
    assert rows["cityscapes"]["schemes"] == {"evaluated": 19, "raw": 34}
    assert (rows["cityscapes"]["folder"], rows["cityscapes"]["images"], rows["cityscapes"]["downloadable"]) == (
        None,
        None,
        False,
    )
    assert rows["mas3k"]["schemes"] == {"species": 38, "binary": 2}
    assert (rows["ade20k"]["schemes"], rows["cats_dogs"]["schemes"]) == ({"all": 150}, {"unlabelled": 0})
    assert (rows["mine"]["schemes"], rows["mine"]["images"]) == ({"all": 2}, 40)


def test_a_broken_dataset_does_not_hide_the_others(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dataset with a missing list is found, without a count, and the missing file is named."""
    (root / "oxford-iiit-pet" / "annotations" / "test.txt").unlink()
    assert call("datasets", "--data", str(root), "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["pets"]["images"] is None
    assert "test.txt is missing" in rows["pets"]["problem"]
    assert rows["generated_far"]["images"] == 480


def test_prepare_prints_statistics_of_a_dataset(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images by official split, class shares, the ignored share, mean and standard deviation are printed."""
    options = ("--data", str(root), "--image-px", "20", "--store", str(tmp_path / "store"))
    assert call("prepare", "pets", "pets/trimap", *options) == 0
    copies = [
        "  1 test images repeat another test image (pug_1 = pug_2)",
        "  1 test images are identical to trainval images (pug_1 = Bengal_1, pug_1 = Bengal_2)",
        "  a study keeps identical images on one side of its split: test before val before train",
    ]
    assert capsys.readouterr().out.splitlines() == [
        "pets: 4 images at 20 px (fit resize): trainval 2, test 2",
        "  2 classes (foreground): background 75.00 %, pet 25.00 %",
        "  ignored: 0.00 % of all pixels",
        "  red, green, blue: mean 0.250 0.000 0.750, std 0.433 0.000 0.433",
        *copies,
        "pets/trimap: 4 images at 20 px (fit resize): trainval 2, test 2",
        "  3 classes (trimap): background 75.00 %, pet 25.00 %, and 1 more",
        "  ignored: 0.00 % of all pixels",
        "  red, green, blue: mean 0.250 0.000 0.750, std 0.433 0.000 0.433",
        *copies,
        "  no mask shows 'boundary'",
    ]


def test_prepare_for_a_program(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` has the same content, for several datasets at once, and `--fit` and `--classes` are applied."""
    options = ("--data", str(root), "--image-px", "10", "--store", str(tmp_path / "store"), "--json")
    assert call("prepare", "pets", *options, "--classes", "trimap", "--fit", "raw-crop") == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["scheme"], facts["fit"], facts["image_px"]) == ("pets", "trimap", "raw-crop", 10)
    assert (facts["images"], facts["splits"], facts["ignored"]) == (4, {"trainval": 2, "test": 2}, 0)
    assert facts["class_shares"] == {"pet": 0.0, "background": 1.0, "boundary": 0.0}  # the pet is left of the middle
    assert facts["mean"] == [0, 0, 1]


def test_prepare_of_images_without_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unlabelled dataset has counts, mean and standard deviation, and a line that it has no masks."""
    for split in ("train", "test"):
        for kind in ("cats", "dogs"):
            (tmp_path / "cats_dogs" / split / kind).mkdir(parents=True)
            Image.new("RGB", (30, 20), (51, 102, 204)).save(tmp_path / "cats_dogs" / split / kind / "a b.jpg", "PNG")
    options = ("--data", str(tmp_path), "--image-px", "8", "--store", str(tmp_path / "store"))
    assert call("prepare", "cats_dogs", *options, "--contact-sheet", str(tmp_path / "sheets")) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "cats_dogs: 4 images at 8 px (fit resize): train 2, test 2",
        "  no masks",
        "  red, green, blue: mean 0.200 0.400 0.800, std 0.000 0.000 0.000",
    ]
    assert (tmp_path / "sheets" / "cats_dogs.png").is_file()


def test_the_contact_sheet_shows_each_image_above_its_mask(root: Path, tmp_path: Path) -> None:
    """Images are above their masks, the pet's colour is on the left quarter like the red, and the colours are named below."""
    options = ("--data", str(root), "--image-px", "20", "--store", str(tmp_path / "store"))
    assert call("prepare", "pets/foreground", *options, "--contact-sheet", str(tmp_path / "sheets")) == 0
    sheet = np.asarray(Image.open(tmp_path / "sheets" / "pets_foreground.png"))
    assert sheet.shape[1] == 4 * 166 + 6
    for column in range(4):
        left = 6 + 166 * column
        assert sheet[90, left + 10].tolist() == [255, 0, 0]
        assert sheet[90, left + 120].tolist() == [0, 0, 255]
        marked = sheet[250, left + 10].tolist()
        assert marked not in ([0, 0, 0], [255, 255, 255])
        assert sheet[250, left + 120].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("folder:/no/such",), "error: dataset 'folder:/no/such': folder /no/such is missing"),
        (("pets", "--image-px", "0"), "error: --image-px 0: allowed are 1..4096"),
        (("pets/breeds",), "error: classes of pets: unknown name 'breeds'; known: foreground, trimap"),
        (("pats",), "error: dataset: unknown name 'pats'; nearest: pets"),
        (("pets/trimap", "--classes", "foreground"), "error: --classes foreground: pets/trimap already names a class scheme"),
    ],
)
def test_a_wrong_request_is_one_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    """A mistake of the user is one line on stderr and exit code 2."""
    assert call("prepare", *arguments, "--data", str(root), "--store", str(tmp_path / "store")) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def archive_of(folder: Path, name: str) -> bytes:
    """Return a tar archive of a folder, under a given name."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(folder, name)
    return content.getvalue()


@pytest.fixture
def pets_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server with small archives of pets, which the table of downloads lists with their checksums."""
    write_pets(tmp_path / "published")
    parts = {name: archive_of(tmp_path / "published" / name, name) for name in ("images", "annotations")}
    with file_server({f"/{name}.tar.gz": content for name, content in parts.items()}) as server:
        archives = [
            replace(archive, url=f"{server.address}/{archive.name}", md5=hashlib.md5(parts[archive.inside]).hexdigest())
            for archive in DOWNLOADS["pets"]
        ]
        monkeypatch.setattr("segsweep.data.download.DOWNLOADS", {**DOWNLOADS, "pets": tuple(archives)})
        yield server


def test_downloads_go_where_the_reader_looks(pets_server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--download` downloads into the usual folder, once, and leaves no archive; an interruption between two archives, or during
    unpacking, is completed."""
    root = tmp_path / "root"
    (root / "oxford-iiit-pet" / "images.unpacking" / "images").mkdir(parents=True)
    write_pets(tmp_path / "other")
    shutil.copytree(tmp_path / "other" / "annotations", root / "oxford-iiit-pet" / "annotations")
    options = ("--data", str(root), "--image-px", "8", "--store", str(tmp_path / "store"), "--download")
    for _ in range(2):
        assert call("prepare", "pets/trimap", *options) == 0
        assert "pets/trimap: 4 images at 8 px" in capsys.readouterr().out
    assert pets_server.asked == [("/images.tar.gz", None)]
    assert sorted(path.name for path in (root / "oxford-iiit-pet").iterdir()) == ["annotations", "images"]


@pytest.mark.parametrize(("name", "folder"), [("pets", "oxford-iiit-pet"), ("voc2012", "voc2012"), ("cifar10", "cifar10")])
@pytest.mark.parametrize("failure", [urllib.error.URLError("no\nroute"), TimeoutError("late")])
def test_downloads_that_fail_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    folder: str,
    failure: Exception,
) -> None:
    """Without a network there is one line: the file, the reason, the folder for a manual download, and its layout."""

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("segsweep.fetching.urlopen", fail)
    options = ("--data", str(tmp_path), "--store", str(tmp_path / "store"), "--download")
    assert call("prepare", name, *options) == 2
    error = capsys.readouterr().err
    reason = "no route" if isinstance(failure, urllib.error.URLError) else "late"
    assert error.startswith(f"error: --download {name}: could not be fetched ({DOWNLOADS[name][0].url}: {reason})")
    assert f"put it into {tmp_path / folder} by hand (layout: {DATASETS[name].layout})" in error
    assert error.count("\n") == 1


def test_the_archives_are_those_of_torchvision() -> None:
    """URLs and checksums of the table equal those that torchvision publishes."""
    from torchvision.datasets import CIFAR10, OxfordIIITPet, voc

    found = {name: [(archive.url, archive.md5) for archive in archives] for name, archives in DOWNLOADS.items()}
    old = voc.DATASET_YEAR_DICT["2012"]
    assert found == {
        "pets": list(OxfordIIITPet._RESOURCES),
        "voc2012": [(old["url"], old["md5"])],
        "cifar10": [(CIFAR10.url, CIFAR10.tgz_md5)],
    }
    assert {*DOWNLOADS, *BY_HAND} == set(DATASETS)


def test_datasets_without_a_download(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a dataset that cannot be downloaded, the line names its origin and its folder; without a root there is no folder."""
    options = ("--store", str(tmp_path / "store"), "--download")
    assert call("prepare", "coco", "--data", str(tmp_path), *options) == 2
    assert (
        f"only pets, voc2012, cifar10 can be fetched; get it from cocodataset.org and put it into {tmp_path / 'coco2017'} by hand"
        in capsys.readouterr().err
    )
    assert call("prepare", "pets", *options) == 2
    assert "error: --download pets: no root was named; pass --data ROOT" in capsys.readouterr().err
