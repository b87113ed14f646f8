"""The data that a study needs: found, identified, prepared and checked before anything is trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segsweep.config.settings import Settings
from segsweep.config.source import DATASET_KINDS, Source
from segsweep.config.study import Study
from segsweep.data.dataset import DataSet, Progress
from segsweep.data.manifest import hash_file
from segsweep.data.prepare import Request, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.data.splits import source_sizes, split_sizes, split_source, split_target, subset
from segsweep.data.table import DataRoots, open_dataset
from segsweep.errors import DataNotFoundError, UserError
from segsweep.models.architectures import check_architecture
from segsweep.stage import check_stage_kind
from segsweep.store.folder import Store

Name = tuple[str, str | None, int]  # data set, class scheme, image_px


@dataclass
class Catalog:
    """The data sets of one study by name, scheme and size.

    `key` may be asked without the data at hand when `lenient`: the key then stands for data that was not found, and
    `absent` says why.
    """

    roots: DataRoots
    store: Store
    progress: Progress
    lenient: bool = False
    absent: dict[str, str] = field(default_factory=dict)
    _datasets: dict[str, DataSet] = field(default_factory=dict)
    _keys: dict[Name, str] = field(default_factory=dict)
    _splits: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)

    def key(self, name: str, scheme: str | None, image_px: int) -> str:
        """Return the key of prepared data, or the content hash of a file (`file:PATH`)."""
        if name.startswith("file:"):
            path = Path(name.removeprefix("file:")).expanduser()
            if not path.is_file():
                raise UserError(f"source {name}: file is missing")
            return hash_file(path)
        wanted = (name, scheme, image_px)
        if wanted not in self._keys:
            try:
                self._keys[wanted] = prepared_key(self._request(wanted), self.store, self.progress)
            except DataNotFoundError as error:
                if not self.lenient:
                    raise
                self.absent[name] = str(error)
                self._keys[wanted] = f"absent {name} {scheme} {image_px}"
        return self._keys[wanted]

    def prepare(self, name: str, scheme: str | None, image_px: int) -> Prepared:
        """Return prepared data, decoding it where the store does not have it."""
        return prepare(self._request((name, scheme, image_px)), self.store, self.progress, self.key(name, scheme, image_px))

    def _request(self, wanted: Name) -> Request:
        name, scheme, image_px = wanted
        if name not in self._datasets:
            self._datasets[name] = open_dataset(name, self.roots)
        return Request(self._datasets[name], scheme, image_px)

    def same(self, name: str, other: str) -> bool:
        """Return whether two names mean one data set: the same name, or the same folder."""
        folders = [getattr(self._request((each, None, 0)).dataset, "folder", Path(each)).resolve() for each in (name, other)]
        return bool(folders[0] == folders[1])

    def target_sizes(self, study: Study) -> tuple[int, int, int]:
        """Return how many pictures the target has for training, validation and test; zeros where it is absent."""
        splits, pool = self._official_splits(study.target.name)
        return split_sizes(splits, pool, study.target.protocol)

    def source_sizes(self, name: str, limit: int | None) -> tuple[int, int]:
        """Return how many pictures a source has for training and validation; zeros where it is absent."""
        splits, pool = self._official_splits(name)
        return source_sizes(splits, pool, limit)

    def classes(self, name: str, scheme: str | None) -> int:
        """Return how many classes a data set has under a scheme; 2 where it is absent."""
        if name in self.absent:
            return 2
        request = self._request((name, scheme, 0))
        return len(request.dataset.schemes[request.chosen_scheme])

    def _official_splits(self, name: str) -> tuple[list[str], list[str]]:
        if name in self.absent:
            return [], []
        if name not in self._splits:
            dataset = self._request((name, None, 0)).dataset
            self._splits[name] = [example.split for example in dataset.examples()], list(dataset.pool)
        return self._splits[name]


def check_names(study: Study) -> None:
    """Raise `UserError` for an architecture, size or stage that cannot be built. Reads no data."""
    for _, settings in study.cells():
        check_architecture(settings.architecture, settings.image_px)
        for stage in Source.parse(settings.source).stages:
            check_stage_kind(stage.kind)


def prepare_all(study: Study, catalog: Catalog) -> Mapping[Name, Prepared]:
    """Prepare every data set of a study and check that splits, fractions and limits leave pictures.

    Raises `UserError`, naming the file or the setting, before anything is trained.
    """
    prepared: dict[Name, Prepared] = {}

    def get(name: str, scheme: str | None, settings: Settings) -> Prepared:
        wanted = (name, scheme, settings.image_px)
        if wanted not in prepared:
            prepared[wanted] = catalog.prepare(*wanted)
        return prepared[wanted]

    for _, settings in study.cells():
        target = get(study.target.name, study.target.classes, settings)
        split = split_target(target, study.target.protocol)
        subset(target, split.train, settings.fraction, seed=0)
        for stage in Source.parse(settings.source).stages:
            if stage.kind == "file":
                catalog.key(str(stage), None, settings.image_px)
            if stage.kind in DATASET_KINDS and stage.name is not None:
                if catalog.same(stage.name, study.target.name):
                    raise UserError(f"source {stage}: is the target's own data set; it would train on the target's test pictures")
                split_source(get(stage.name, None, settings), stage.limit, seed=0)
    return prepared
