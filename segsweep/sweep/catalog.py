"""The catalog of a study's datasets: finds them, computes their keys, prepares them, and reports their sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segsweep.config.folds import folds_of
from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.study import PREVENT, Study
from segsweep.config.user_objects import UserObject
from segsweep.config.work import StageSpec
from segsweep.data.dataset import FITS, Dataset, Example, Notify, Progress, discard_line, folder_remarks
from segsweep.data.duplicates import shared_images
from segsweep.data.groups import grouped, has_groups
from segsweep.data.manifest import hash_file
from segsweep.data.originals import originals_key, prepare_originals
from segsweep.data.prepare import DataSpec, listed_examples, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Split, check_labelled, source_sizes, split_source, split_target
from segsweep.data.table import DataRoots, open_dataset, split_scheme
from segsweep.errors import DataNotFoundError, LostArtifactError, UserError
from segsweep.store.contents import DATA
from segsweep.store.protocol import Store
from segsweep.sweep.study_values import split_choices

DATASET_FIT = "own"  # the fit that the dataset itself defines

Name = tuple[str, str | None, int, str]  # dataset, class scheme, image_px, fit


@dataclass
class Catalog:
    """The datasets of one study, by name, class scheme, size and fit.

    For a dataset that is not found, a catalog raises an error. A `lenient` one, as for a plan, returns a placeholder key and
    stores the reason in `absent`. `notify` receives a line for the user if prepared data is damaged. `user_objects` are the
    objects that the study file defines.
    """

    roots: DataRoots
    store: Store
    progress: Progress
    lenient: bool = False
    notify: Notify = discard_line
    absent: dict[str, str] = field(default_factory=dict)
    user_objects: Mapping[str, UserObject] = field(default_factory=dict)
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _keys: dict[Name, str] = field(default_factory=dict)
    _hashes: dict[Path, str] = field(default_factory=dict)
    _examples: dict[str, list[Example]] = field(default_factory=dict)
    _sizes: dict[tuple[Any, ...], tuple[int, int, int]] = field(default_factory=dict)
    _left_out: dict[tuple[Any, ...], tuple[int, ...]] = field(default_factory=dict)

    def key(self, name: str, scheme: str | None, image_px: int, fit: str = DATASET_FIT) -> str:
        """Return the key of prepared data, or the content hash of a file (`file:PATH`)."""
        if name.startswith("file:"):
            path = Path(name.removeprefix("file:")).expanduser()
            if not path.is_file():
                raise UserError(f"source {name}: file is missing")
            if path not in self._hashes:
                self._hashes[path] = hash_file(path)
            return self._hashes[path]
        wanted = (name, scheme, image_px, fit)
        if wanted not in self._keys:
            try:
                self._keys[wanted] = prepared_key(self._data_spec(wanted), self.store, self.progress)
            except DataNotFoundError as error:
                if not self.lenient:
                    raise
                self.absent[name] = str(error)
                self._keys[wanted] = f"absent {name} {scheme} {image_px} {fit}"
        return self._keys[wanted]

    def prepare(self, name: str, scheme: str | None, image_px: int, fit: str = DATASET_FIT) -> Prepared:
        """Return prepared data; decode and store it first if the store lacks it."""
        wanted = (name, scheme, image_px, fit)
        data = prepare(self._data_spec(wanted), self.store, self.progress, self.key(*wanted), self.notify)
        self._sizes.clear()  # sizes from the listing still include copies
        return data

    def masks_key(self, study: Study) -> str | None:
        """Return the key of the target's masks at their original sizes; None if the target is absent."""
        if study.target_name in self.absent:
            return None
        return originals_key(self._masks_spec(study), self.store, self.progress)

    def prepare_masks(self, study: Study) -> None:
        """Read and store the target's masks at their original sizes, unless the store has them."""
        prepare_originals(self._masks_spec(study), self.store, self.progress, self.notify)

    def _masks_spec(self, study: Study) -> DataSpec:
        return self._data_spec((study.target_name, study.target.classes, 0, DATASET_FIT))

    def target_fit(self, study: Study, settings: Settings) -> str | None:
        """Return the fit by which the target's images are made square; None if it is absent."""
        if study.target_name in self.absent:
            return None
        return self._data_spec((study.target_name, study.target.classes, settings.image_px, settings.fit)).chosen_fit

    def source_fit(self, stage: Stage, settings: Settings) -> str | None:
        """Return the fit by which the images of a stage's dataset are made square; None if it is absent or there is none."""
        if stage.dataset is None or stage.dataset in self.absent:
            return None
        return self._data_spec((stage.dataset, None, settings.source_px, settings.source_fit)).chosen_fit

    def find(self, name: str, scheme: str | None, image_px: int, fit: str = DATASET_FIT) -> Prepared | None:
        """Return prepared data from the store; None if the store lacks it."""
        return self._opened(self.key(name, scheme, image_px, fit), f"{name} at {image_px} px")

    def _opened(self, key: str, what: str) -> Prepared | None:
        """Return prepared data by its key, None if the store lacks it or it is damaged. A lenient catalog skips its checksums."""
        try:
            artifact = self.store.open(DATA, key, self.progress, verify="changed" if self.lenient else "once")
        except LostArtifactError as error:
            if error.damaged and not self.lenient:
                self.notify(f"prepared data of {what} {error.reason}; it is prepared again")
            return None
        return Prepared.open(artifact.folder)

    def find_target(self, study: Study, settings: Settings) -> Prepared | None:
        """Return the target's prepared data, None if the store lacks it."""
        return self.find(study.target_name, study.target.classes, settings.image_px, settings.fit)

    def left_out(self, study: Study, stage: Stage, settings: Settings) -> tuple[int, ...]:
        """Return the indices of a source's images that a stage must not train on.

        These are the images that some trial of the cell uses for validation or test of the target. Empty if leakage is only
        reported, unless the source is the target's own dataset; and empty if either dataset is not prepared yet.
        """
        prevented = study.target.leakage == PREVENT or self._is_target(study, stage)
        return self.shared(study, stage, settings) if prevented else ()

    def _is_target(self, study: Study, stage: Stage) -> bool:
        """Return whether a stage trains on the target's own dataset; False if either is absent."""
        assert stage.dataset is not None
        here = not {stage.dataset, study.target_name} & set(self.absent)
        return here and self.same(stage.dataset, study.target_name)

    def shared(self, study: Study, stage: Stage, settings: Settings) -> tuple[int, ...]:
        """Return the indices of a source's images that are identical to validation or test images of the target."""
        assert stage.dataset is not None
        source_name = (stage.dataset, None, settings.source_px, settings.source_fit)
        target_name = (study.target_name, study.target.classes, settings.image_px, settings.fit)
        parts = split_choices(study, settings)
        known = (self.key(*source_name), self.key(*target_name), replace(study.target, class_map={}), parts)
        if known not in self._left_out:
            source, target = self.find(*source_name), self.find(*target_name)
            if source is None or target is None:
                return ()
            splits = [target_split(target, study, share, fold) for share, fold in parts]
            held = np.unique(np.concatenate([part for split in splits for part in (split.val, split.val_copies, split.test)]))
            self._left_out[known] = tuple(shared_images(source, target, held).tolist())
        return self._left_out[known]

    def _data_spec(self, wanted: Name) -> DataSpec:
        name, scheme, image_px, fit = wanted
        if name not in self._datasets:
            known = self.user_objects.get(name)
            self._datasets[name] = known.value if known is not None else open_dataset(name, self.roots)
        chosen = next((known for known in FITS if known == fit), None)  # None for `DATASET_FIT`
        fingerprint = self.user_objects[name].fingerprint if name in self.user_objects else ""
        return DataSpec(self._datasets[name], scheme or split_scheme(name)[1], image_px, chosen, fingerprint)

    def same(self, name: str, other: str) -> bool:
        """Return whether two names refer to the same dataset: the same name, or the same folder."""
        folders = [Path(getattr(self._dataset(each), "folder", split_scheme(each)[0])).resolve() for each in (name, other)]
        return bool(folders[0] == folders[1])

    def target_sizes(self, study: Study, dev_share: float | None, fold: int | None = None) -> tuple[int, int, int]:
        """Return the number of the target's images for training, validation and test; zeros if it is absent.

        Under a protocol with folds, these are the sizes of `fold`, by default the first one. Before the data is prepared, copies
        are not known yet and are included.
        """
        if study.target_name in self.absent:
            return 0, 0, 0
        fold = fold or (1 if folds_of(study.target.protocol) else None)
        known = (replace(study.target, class_map={}), dev_share, fold)
        if known not in self._sizes:
            prepared = (self.find_target(study, settings) for _, settings in study.cells())
            data = next((found for found in prepared if found is not None), None) or self._listing(study)
            split = target_split(data, study, dev_share, fold)
            self._sizes[known] = len(split.train), len(split.val), len(split.test)
        return self._sizes[known]

    def split_is_open(self, study: Study) -> bool:
        """Return whether the target's split is unknown until its masks are decoded, because it stratifies groups by class."""
        if study.target_name in self.absent or study.target.leakage != PREVENT:
            return False
        if any(self.find_target(study, settings) is not None for _, settings in study.cells()):
            return False
        listing = grouped(self._listing(study), study.target.groups)
        return has_groups(listing) and "" in listing.strata

    def stage_sizes(self, spec: StageSpec) -> tuple[int, int]:
        """Return the number of a stage's images for training and validation; zeros if its dataset is absent."""
        assert spec.stage.dataset is not None
        choice = spec.settings.get("split", "official")
        data = self._opened(spec.data, spec.stage.dataset) if spec.data else None
        if data is None:
            return self.source_sizes(spec.stage.dataset, spec.stage.limit, choice)
        split = split_source(
            data,
            spec.stage.limit,
            spec.seed,
            choice,
            labelled=spec.stage.supervised,
            without=spec.without,
            leakage=spec.leakage,
        )
        return len(split.train), len(split.val)

    def source_sizes(self, name: str, limit: int | None, choice: str) -> tuple[int, int]:
        """Return the number of a source's images for training and validation; zeros if it is absent."""
        if name in self.absent:
            return 0, 0
        return source_sizes([example.split for example in self._listed(name)], self._dataset(name).pool, limit, choice)

    def classes(self, name: str, scheme: str | None) -> Sequence[str]:
        """Return the classes of a dataset under a class scheme; two empty names if it is absent."""
        if name in self.absent:
            return ("", "")
        spec = self._data_spec((name, scheme, 0, DATASET_FIT))
        check_labelled(name, bool(classes := spec.dataset.schemes[spec.chosen_scheme]))
        return classes

    def folder_remarks(self, name: str) -> list[str]:
        """Return the remarks of a dataset's reader on the files in its folder; an empty list if it is absent."""
        return [] if name in self.absent else folder_remarks(self._dataset(name))

    def _dataset(self, name: str) -> Dataset:
        return self._data_spec((name, None, 0, DATASET_FIT)).dataset

    def _listing(self, study: Study) -> Prepared:
        """Return the target's images as listed before decoding; their strata are known only if its reader gives them."""
        examples, dataset = self._listed(study.target_name), self._dataset(study.target_name)
        return Prepared.undecoded(dataset, examples, self.classes(study.target_name, study.target.classes))

    def _listed(self, name: str) -> list[Example]:
        if name not in self._examples:
            self._examples[name] = listed_examples(self._dataset(name))
        return self._examples[name]


def target_split(data: Prepared, study: Study, dev_share: float | None, fold: int | None) -> Split:
    """Return the split of a study's target for a development share and a fold."""
    target = study.target
    return split_target(data, target.protocol, dev_share, fold, groups=target.groups, leakage=target.leakage)
