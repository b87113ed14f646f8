"""Preparation of a dataset: it is decoded once, into square uint8 arrays in the store."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path

import numpy as np

from segsweep.config.digest import digest
from segsweep.data.dataset import Dataset, Example, Fit, Notify, Progress, discard_line
from segsweep.data.decoding import KEPT, Decoded, decode
from segsweep.data.disk_space import one_line_when_full
from segsweep.data.manifest import content_digest
from segsweep.data.prepared import Counts, Prepared
from segsweep.errors import UserError, unknown
from segsweep.store.contents import DATA, DATA_INDEX_FILE, MOMENTS_FILE, PIXELS_FILE
from segsweep.store.protocol import Build, Store

PREPARE_VERSION = 4  # 4: 16-bit images by the range of their dataset; before, those of 12-bit sensors were almost black


@dataclass(frozen=True)
class DataSpec:
    """Specification of prepared data: a dataset under one class scheme (None for its first), as squares of side `image_px`.

    `fit` is the way in which images become square; None for the dataset's default. `fingerprint` identifies the code of a user's
    dataset reader, which nothing else may identify.
    """

    dataset: Dataset
    scheme: str | None
    image_px: int
    fit: Fit | None = None
    fingerprint: str = ""

    @property
    def chosen_scheme(self) -> str:
        """The name of the scheme. Raises `UserError` for a scheme that the dataset does not have."""
        schemes = list(self.dataset.schemes)
        if self.scheme is not None and self.scheme not in schemes:
            raise unknown(f"classes of {self.dataset.name}", self.scheme, schemes)
        return self.scheme or schemes[0]

    @property
    def chosen_fit(self) -> Fit:
        """The way in which images become square."""
        return self.fit or self.dataset.fit

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes; none for an unlabelled dataset."""
        return self.dataset.schemes[self.chosen_scheme]


def prepared_key(spec: DataSpec, store: Store, progress: Progress) -> str:
    """Return the key of the arrays: the digest of the dataset's contents, class scheme, fit and size."""
    content = content_digest(spec.dataset, spec.chosen_scheme, store, progress, spec.chosen_fit)
    user_code = {"mark": spec.fingerprint} if spec.fingerprint else {}
    return digest({"version": PREPARE_VERSION, "content": content, "image_px": spec.image_px, **user_code})


def prepare(spec: DataSpec, store: Store, progress: Progress, key: str | None = None, notify: Notify = discard_line) -> Prepared:
    """Return the prepared arrays; the dataset is decoded unless the store has them already.

    Every image is verified: it is readable, has the size of its mask, and its mask has no value outside the classes. Images that
    a killed process has decoded are not decoded again. Raises `UserError` for bad files, of which it names the first ones and the
    number, for files that change in the meantime, and for a full disk; nothing is kept then. `key` is the `prepared_key` of the
    request, for callers that know it. Damaged arrays in the store are set aside and decoded again, and `notify` gets a line.
    """
    key = key or prepared_key(spec, store, progress)
    with store.building(DATA, key, progress=progress) as build:
        if build.lost is not None:
            notify(f"prepared data of {spec.dataset.name} at {spec.image_px} px {build.lost}; it is prepared again")
        if build.found is None:
            checkpoints = store.checkpoints(f"prepare-{key}")
            try:
                _build(_unread(spec), key, store, build, checkpoints.open(), progress)
            except UserError:
                checkpoints.clear()
                raise
            checkpoints.clear()
        assert build.found is not None
        return Prepared.open(build.found.folder)


def _unread(spec: DataSpec) -> DataSpec:
    """Return the request with a fresh reader: the files that a reader has cached may be older than the key."""
    dataset = spec.dataset
    return replace(spec, dataset=replace(dataset)) if is_dataclass(dataset) else spec


def _build(spec: DataSpec, key: str, store: Store, build: Build, begun: Path, progress: Progress) -> None:
    """Decode into the folder `begun`, or resume an interrupted decoding there, and put the arrays into the store."""
    dataset, image_px, facts = spec.dataset, spec.image_px, {"scheme": spec.chosen_scheme, "fit": spec.chosen_fit}
    examples = listed_examples(dataset)
    needed_mb = len(examples) * image_px**2 * (4 if spec.classes else 3) / 1e6
    with one_line_when_full(store.location, f"dataset {dataset.name!r} at {image_px} px: needs {needed_mb:.1f} MB"):
        decoded = decode(dataset, spec.chosen_scheme, spec.chosen_fit, image_px, examples, begun, progress)
        if prepared_key(spec, store, progress) != key:
            raise UserError(f"dataset {dataset.name!r}: its files changed while they were read; start again")
        _describe(spec, examples, decoded, build.folder)
        for path in (begun / name for name in KEPT):
            if path.is_file():
                path.rename(build.folder / path.name)
        build.commit({"dataset": dataset.name, "image_px": image_px, "bits": decoded.bits, **facts})


def listed_examples(dataset: Dataset) -> list[Example]:
    """Return the examples of a dataset. Raises `UserError` if there are none, if names repeat, or if a group is not a string."""
    examples = dataset.examples()
    if not examples:
        raise UserError(f"dataset {dataset.name!r}: holds no images")
    twice = [name for name, count in Counter(example.name for example in examples).items() if count > 1]
    if twice:
        raise UserError(f"dataset {dataset.name!r}: {twice[0]} is listed twice; an image has one split")
    for example in examples:
        if not isinstance(example.group, str | None):
            raise UserError(f"dataset {dataset.name!r}: {example.name}: group={example.group!r}: must be a text or None")
    return examples


def _describe(spec: DataSpec, examples: Sequence[Example], decoded: Decoded, folder: Path) -> None:
    """Write the properties of every image: its moments, its pixels per class, and the index."""
    dataset = spec.dataset
    np.save(folder / MOMENTS_FILE, decoded.moments)
    np.save(folder / PIXELS_FILE, decoded.pixels)
    described = list(zip(examples, decoded.pixels, strict=True))
    index = {
        "dataset": dataset.name,
        "classes": list(spec.classes),
        "pool": list(dataset.pool),
        "protocols": dict(dataset.protocols),
        "names": [example.name for example in examples],
        "splits": [example.split for example in examples],
        "groups": [example.group for example in examples],
        "fit": spec.chosen_fit,
        "bits": decoded.bits,
        "largest": decoded.largest,
        "strata": [example.stratum or f"class {_dominant(counts)}" for example, counts in described],
    }
    (folder / DATA_INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")


def _dominant(counts: Counts) -> int:
    """Return an image's most frequent class except the first, from its pixels per class (C + 1,); 0 if it shows no other."""
    others = counts[1:-1]
    return int(others.argmax()) + 1 if others.any() else 0
