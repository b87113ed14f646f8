"""Fetching the data sets that torchvision offers, into the folders in which they are looked for."""

from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path

from segsweep.data.table import DATASETS, DataRoots, open_dataset
from segsweep.errors import UserError


def _pets(root: Path) -> None:
    from torchvision.datasets import OxfordIIITPet

    OxfordIIITPet(root, download=True)  # into root/oxford-iiit-pet


def _voc2012(root: Path) -> None:
    from torchvision.datasets import VOCSegmentation

    VOCSegmentation(root / "voc2012", year="2012", download=True)


def _cifar10(root: Path) -> None:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_and_extract_archive

    # not by making a CIFAR10, which would unpickle the files freely
    download_and_extract_archive(CIFAR10.url, str(root / "cifar10"), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)


DOWNLOADS: Mapping[str, tuple[Callable[[Path], None], str]] = {  # what fetches it, and the folder below the root
    "pets": (_pets, "oxford-iiit-pet"),
    "voc2012": (_voc2012, "voc2012"),
    "cifar10": (_cifar10, "cifar10"),
}


def download(name: str, roots: DataRoots) -> None:
    """Fetch a data set into its usual folder below the root, unless it is found already.

    Raises `UserError` for one that torchvision does not offer, without a root, and when it cannot be fetched; it says
    where to put the data set by hand.
    """
    if name not in DATASETS:
        return
    if (folder := roots.folder(name)) is not None:
        try:
            open_dataset(name, roots).examples()
        except UserError as error:
            raise UserError(f"--download {name}: {folder} is there but not whole ({error}); remove it and start again") from None
        return
    if roots.root is None:
        raise UserError(f"--download {name}: no root was named; pass --data ROOT")
    if name not in DOWNLOADS:
        folder = roots.root / DATASETS[name].folders[0]
        raise UserError(
            f"--download {name}: only {', '.join(DOWNLOADS)} can be fetched; put it into {folder} by hand "
            f"(layout: {DATASETS[name].layout})"
        )
    fetch, below = DOWNLOADS[name]
    try:
        fetch(roots.root)
    except (OSError, RuntimeError, HTTPException) as error:  # no network, a wrong checksum, a broken answer
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(
            f"--download {name}: could not be fetched ({reason}); put it into {roots.root / below} by hand "
            f"(layout: {DATASETS[name].layout})"
        ) from None
