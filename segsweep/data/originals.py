"""The masks of a dataset at their original sizes, for tests at the original size: a zip of grey PNGs in the store."""

import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Self
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from PIL import Image

from segsweep.config.digest import digest
from segsweep.data.dataset import Example, Notify, Pixels, Progress, discard_line
from segsweep.data.decoding import read_checked
from segsweep.data.disk_space import one_line_when_full
from segsweep.data.manifest import content_digest
from segsweep.data.prepare import DataSpec
from segsweep.errors import UserError
from segsweep.store.contents import MASKS, MASKS_ARCHIVE
from segsweep.store.protocol import Store

ORIGINALS_VERSION = 1
NAMES = "names.json"  # in the archive
AT_ONCE = 64  # masks that are decoded together before they are written


@dataclass(frozen=True)
class Originals:
    """The masks of a prepared dataset at their original sizes, by the numbers of its images."""

    file: Path

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the masks in a folder of the store. A mask is read when it is requested."""
        return cls(folder / MASKS_ARCHIVE)

    def mask(self, number: int) -> Pixels:
        """Return the mask of an image, (H, W) uint8, class numbers and `IGNORE`."""
        return np.array(Image.open(BytesIO(_archive(self.file, os.getpid()).read(_entry(number)))))


@lru_cache(maxsize=2)
def _archive(file: Path, process: int) -> ZipFile:  # noqa: ARG001
    """Return an open archive. Reading the index of 120,000 masks takes 0.8 s, so a process opens it once, for all its threads.

    `process` is the id of the calling process: a forked process must not share the file position of its parent.
    """
    return ZipFile(file)


def originals_key(spec: DataSpec, store: Store, progress: Progress) -> str:
    """Return the key of a dataset's masks: the digest of its contents and class scheme."""
    content = content_digest(spec.dataset, spec.chosen_scheme, store, progress)
    user_code = {"mark": spec.fingerprint} if spec.fingerprint else {}
    return digest({"version": ORIGINALS_VERSION, "content": content, **user_code})


def prepare_originals(spec: DataSpec, store: Store, progress: Progress, notify: Notify = discard_line) -> Originals:
    """Return the masks of a dataset at their original sizes; they are read unless the store has them already.

    Raises `UserError` for a file that cannot be read, for files that change in the meantime, and for a full disk. Damaged masks
    in the store are set aside and read again, and `notify` gets a line.
    """
    dataset, key = spec.dataset, originals_key(spec, store, progress)
    with store.building(MASKS, key, progress=progress) as build:
        if build.lost is not None:
            notify(f"masks of {dataset.name} at their original sizes: the artifact {build.lost}; they are read again")
        if build.found is None:
            with one_line_when_full(store.location, f"masks of dataset {dataset.name!r} at their original sizes"):
                _write(spec, dataset.examples(), build.folder / MASKS_ARCHIVE, progress)
                if originals_key(spec, store, progress) != key:
                    raise UserError(f"dataset {dataset.name!r}: its files changed while they were read; start again")
                build.commit({"dataset": dataset.name, "scheme": spec.chosen_scheme})
        assert build.found is not None
        return Originals.open(build.found.folder)


def _write(spec: DataSpec, examples: Sequence[Example], file: Path, progress: Progress) -> None:
    def png(example: Example) -> bytes:
        content = BytesIO()
        Image.fromarray(read_checked(spec.dataset, example, spec.chosen_scheme)[1]).save(content, "PNG")
        return content.getvalue()

    with warnings.catch_warnings(), ZipFile(file, "w", ZIP_STORED) as archive, ThreadPoolExecutor() as pool:
        warnings.filterwarnings("ignore", module="PIL|pycocotools")  # as in the decoding of images
        archive.writestr(ZipInfo(NAMES), json.dumps([example.name for example in examples], ensure_ascii=False))
        for first in range(0, len(examples), AT_ONCE):
            for number, content in enumerate(pool.map(png, examples[first : first + AT_ONCE]), start=first):
                archive.writestr(ZipInfo(_entry(number)), content)
            progress(f"reading masks of {spec.dataset.name}", min(first + AT_ONCE, len(examples)), len(examples))


def _entry(number: int) -> str:
    return f"{number:07d}.png"
