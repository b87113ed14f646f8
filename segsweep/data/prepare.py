"""Decoding a data set once, into square uint8 arrays in the store."""

import json
import os
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from segsweep.config.digest import digest
from segsweep.data.dataset import IGNORE, DataSet, Example, Progress
from segsweep.data.manifest import content_digest
from segsweep.data.picture import dominant_class, square
from segsweep.data.prepared import Prepared
from segsweep.errors import UserError, unknown
from segsweep.store.folder import Store

KIND = "data"
PREPARE_VERSION = 1
PROBLEMS_SHOWN = 3


@dataclass(frozen=True)
class Request:
    """What to prepare: a data set under one class scheme (None for its first), as squares of `image_px`."""

    dataset: DataSet
    scheme: str | None
    image_px: int

    @property
    def chosen_scheme(self) -> str:
        """The name of the scheme. Raises `UserError` for one that the data set does not have."""
        schemes = list(self.dataset.schemes)
        if self.scheme is not None and self.scheme not in schemes:
            raise unknown(f"classes of {self.dataset.name}", self.scheme, schemes)
        return self.scheme or schemes[0]


def prepared_key(request: Request, store: Store, progress: Progress) -> str:
    """Return the key of the arrays: the digest of the data set's contents, class scheme and size."""
    content = content_digest(request.dataset, request.chosen_scheme, store.root / "manifests", progress)
    return digest({"version": PREPARE_VERSION, "content": content, "image_px": request.image_px})


def prepare(request: Request, store: Store, progress: Progress, key: str | None = None) -> Prepared:
    """Return the arrays, decoding the data set unless the store has them already.

    Every picture is verified: readable, of the size of its mask, with no mask value outside the classes.
    Raises `UserError` that names the first bad files and says how many there are, and for files that change meanwhile;
    nothing is kept then. `key` is the `prepared_key` of the request, for a caller that has it.
    """
    key = key or prepared_key(request, store, progress)
    with store.building(KIND, key) as build:
        if build.found is None:
            _decode(request, build.folder, progress)
            if prepared_key(request, store, progress) != key:
                raise UserError(f"data set {request.dataset.name!r}: its files changed while they were read; start again")
            build.commit({"dataset": request.dataset.name, "scheme": request.chosen_scheme, "image_px": request.image_px})
        assert build.found is not None
        return Prepared.open(build.found.folder)


def _decode(request: Request, folder: Path, progress: Progress) -> None:
    examples = request.dataset.examples()
    if not examples:
        raise UserError(f"data set {request.dataset.name!r}: holds no pictures")
    twice = [name for name, count in Counter(example.name for example in examples).items() if count > 1]
    if twice:
        raise UserError(f"data set {request.dataset.name!r}: {twice[0]} is listed twice; a picture has one split")
    shape = (len(examples), request.image_px, request.image_px)
    images = open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=(*shape, 3))
    masks = open_memmap(folder / "masks.npy", mode="w+", dtype=np.uint8, shape=shape)
    counts = np.zeros(256, dtype=np.int64)
    strata: list[str] = []
    problems: list[str] = []
    dataset, scheme = request.dataset, request.chosen_scheme

    def decode(position: int, example: Example) -> str | UserError:
        try:
            image, mask = dataset.read(example, scheme)
        except UserError as error:
            return error
        images[position], masks[position] = square(image, mask, request.image_px, dataset.fit)
        return example.stratum or f"class {dominant_class(masks[position])}"

    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        warnings.filterwarnings("ignore", module="PIL|pycocotools")  # odd metadata, deprecations: nothing a user can mend
        for position, outcome in enumerate(pool.map(decode, range(len(examples)), examples)):
            if isinstance(outcome, UserError):
                problems.append(str(outcome))
            else:
                strata.append(outcome)
                counts += np.bincount(masks[position].ravel(), minlength=256)
            progress(f"preparing {dataset.name} at {request.image_px} px", position + 1, len(examples))
    if problems:
        more = f"; and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        raise UserError(f"data set {dataset.name!r}: {'; '.join(problems[:PROBLEMS_SHOWN])}{more}")
    images.flush()
    masks.flush()
    index = {
        "dataset": dataset.name,
        "classes": list(dataset.schemes[scheme]),
        "pool": list(dataset.pool),
        "names": [example.name for example in examples],
        "splits": [example.split for example in examples],
        "strata": strata,
        "pixels_per_class": counts[: len(dataset.schemes[scheme])].tolist(),
        "pixels_ignored": int(counts[IGNORE]),
    }
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
