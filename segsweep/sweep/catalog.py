"""The data that a study needs: found, identified, prepared and checked before anything is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segsweep.config.class_name import foreground_number, same_class
from segsweep.config.own import PREFIX, fingerprint, own
from segsweep.config.settings import Settings
from segsweep.config.source import DATASET_KINDS, SELF_SUPERVISED, Source, Stage
from segsweep.config.study import PREVENT, Study
from segsweep.config.work import StageSpec
from segsweep.data.dataset import FITS, DataSet, Example, Progress
from segsweep.data.duplicates import shared_images
from segsweep.data.groups import grouped, has_groups
from segsweep.data.manifest import hash_file
from segsweep.data.mask_checks import check_masks, check_split_masks
from segsweep.data.originals import originals_key, prepare_originals
from segsweep.data.prepare import KIND, Request, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.data.splits import Split, check_labelled, source_sizes, split_source, split_target, subset
from segsweep.data.table import DataRoots, class_names, open_dataset, split_scheme
from segsweep.errors import DataNotFoundError, UserError, unknown
from segsweep.models.architectures import build_without_numbers, check_architecture, check_encoder, encoder_name
from segsweep.models.class_map import ClassMap, map_classes
from segsweep.models.freeze import check_freeze_fits, check_stages_known
from segsweep.models.published import COCO_WEIGHTS_CLASSES, published_classes
from segsweep.stage import check_stage
from segsweep.store.folder import Store
from segsweep.sweep.points import tuning_points
from segsweep.training.losses import check_loss
from segsweep.training.weight_file import check_file

BY_STAGE = {"encoder_lr_factor": 1.0, "layer_decay": 1.0, "unfreeze_every_epochs": None}  # settings that look at stages
OWN_FIT = "own"  # the fit of the data set itself

Name = tuple[str, str | None, int, str]  # data set, class scheme, image_px, fit


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
    _hashes: dict[Path, str] = field(default_factory=dict)
    _examples: dict[str, list[Example]] = field(default_factory=dict)
    _sizes: dict[tuple[Any, ...], tuple[int, int, int]] = field(default_factory=dict)
    _left_out: dict[tuple[Any, ...], tuple[int, ...]] = field(default_factory=dict)

    def key(self, name: str, scheme: str | None, image_px: int, fit: str = OWN_FIT) -> str:
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
                self._keys[wanted] = prepared_key(self._request(wanted), self.store, self.progress)
            except DataNotFoundError as error:
                if not self.lenient:
                    raise
                self.absent[name] = str(error)
                self._keys[wanted] = f"absent {name} {scheme} {image_px} {fit}"
        return self._keys[wanted]

    def prepare(self, name: str, scheme: str | None, image_px: int, fit: str = OWN_FIT) -> Prepared:
        """Return prepared data, decoding it where the store does not have it."""
        wanted = (name, scheme, image_px, fit)
        data = prepare(self._request(wanted), self.store, self.progress, self.key(*wanted))
        self._sizes.clear()  # those of a listing count copies
        return data

    def masks_key(self, study: Study) -> str | None:
        """Return the key of the target's masks at their own sizes; None where the target is absent."""
        if study.target_name in self.absent:
            return None
        return originals_key(self._masks_request(study), self.store, self.progress)

    def prepare_masks(self, study: Study) -> None:
        """Read the target's masks at their own sizes, unless the store has them."""
        prepare_originals(self._masks_request(study), self.store, self.progress)

    def _masks_request(self, study: Study) -> Request:
        return self._request((study.target_name, study.target.classes, 0, OWN_FIT))

    def target_fit(self, study: Study, settings: Settings) -> str | None:
        """Return how the target's images become square; None where it is absent."""
        if study.target_name in self.absent:
            return None
        return self._request((study.target_name, study.target.classes, settings.image_px, settings.fit)).chosen_fit

    def find(self, name: str, scheme: str | None, image_px: int, fit: str = OWN_FIT) -> Prepared | None:
        """Return prepared data that the store has; None for others, as where a run is only planned."""
        artifact = self.store.find(KIND, self.key(name, scheme, image_px, fit))
        return Prepared.open(artifact.folder) if artifact else None

    def find_target(self, study: Study, settings: Settings) -> Prepared | None:
        """Return the target's prepared data, None where the store does not have it."""
        return self.find(study.target_name, study.target.classes, settings.image_px, settings.fit)

    def left_out(self, study: Study, stage: Stage, settings: Settings) -> tuple[int, ...]:
        """Return the numbers of a source's images on which the target validates or tests in some trial of a cell.

        Nothing where leakage is only reported, and where either is not prepared yet.
        """
        return self.shared(study, stage, settings) if study.target.leakage == PREVENT else ()

    def shared(self, study: Study, stage: Stage, settings: Settings) -> tuple[int, ...]:
        """Return the numbers of a source's images that are identical to some on which the target validates or tests."""
        assert stage.name is not None
        source_name = (stage.name, None, settings.source_px, settings.source_fit)
        target_name = (study.target_name, study.target.classes, settings.image_px, settings.fit)
        shares = dev_shares(study, settings)
        known = (self.key(*source_name), self.key(*target_name), replace(study.target, class_map={}), shares)
        if known not in self._left_out:
            source, target = self.find(*source_name), self.find(*target_name)
            if source is None or target is None:
                return ()
            splits = [target_split(target, study, share) for share in shares]
            held = np.unique(np.concatenate([part for split in splits for part in (split.val, split.val_copies, split.test)]))
            self._left_out[known] = tuple(shared_images(source, target, held).tolist())
        return self._left_out[known]

    def _request(self, wanted: Name) -> Request:
        name, scheme, image_px, fit = wanted
        if name not in self._datasets:
            self._datasets[name] = own(name) if name.startswith(PREFIX) else open_dataset(name, self.roots)
        chosen = next((known for known in FITS if known == fit), None)  # none of them is the data set's own
        mark = fingerprint(name) or ""
        return Request(self._datasets[name], scheme or split_scheme(name)[1], image_px, chosen, mark)

    def same(self, name: str, other: str) -> bool:
        """Return whether two names mean one data set: the same name, or the same folder."""
        folders = [Path(getattr(self._dataset(each), "folder", split_scheme(each)[0])).resolve() for each in (name, other)]
        return bool(folders[0] == folders[1])

    def target_sizes(self, study: Study, dev_share: float | None) -> tuple[int, int, int]:
        """Return how many pictures the target has for training, validation and test; zeros where it is absent.

        Copies that a split leaves out are only known once the data is prepared, and are counted here.
        """
        if study.target_name in self.absent:
            return 0, 0, 0
        known = (replace(study.target, class_map={}), dev_share)
        if known not in self._sizes:
            prepared = (self.find_target(study, settings) for _, settings in study.cells())
            data = next((found for found in prepared if found is not None), None) or self._listing(study)
            split = target_split(data, study, dev_share)
            self._sizes[known] = len(split.train), len(split.val), len(split.test)
        return self._sizes[known]

    def split_is_open(self, study: Study) -> bool:
        """Return whether the target's split needs decoded masks: groups are divided by what they show."""
        if study.target_name in self.absent or study.target.leakage != PREVENT:
            return False
        if any(self.find_target(study, settings) is not None for _, settings in study.cells()):
            return False
        listing = grouped(self._listing(study), study.target.groups)
        return has_groups(listing) and "" in listing.strata

    def stage_sizes(self, spec: StageSpec) -> tuple[int, int]:
        """Return how many images a stage has for training and validation; zeros where its data set is absent."""
        assert spec.stage.name is not None
        choice = spec.settings.get("split", "official")
        artifact = self.store.find(KIND, spec.data) if spec.data else None
        if artifact is None:
            return self.source_sizes(spec.stage.name, spec.stage.limit, choice)
        split = split_source(
            Prepared.open(artifact.folder),
            spec.stage.limit,
            spec.seed,
            choice,
            labelled=spec.stage.kind not in SELF_SUPERVISED,
            without=spec.without,
            leakage=spec.leakage,
        )
        return len(split.train), len(split.val)

    def source_sizes(self, name: str, limit: int | None, choice: str) -> tuple[int, int]:
        """Return how many pictures a source has for training and validation; zeros where it is absent."""
        if name in self.absent:
            return 0, 0
        return source_sizes([example.split for example in self._listed(name)], self._dataset(name).pool, limit, choice)

    def classes(self, name: str, scheme: str | None) -> Sequence[str]:
        """Return the classes of a data set under a scheme; two without names where it is absent."""
        if name in self.absent:
            return ("", "")
        request = self._request((name, scheme, 0, OWN_FIT))
        check_labelled(name, bool(classes := request.dataset.schemes[request.chosen_scheme]))
        return classes

    def _dataset(self, name: str) -> DataSet:
        return self._request((name, None, 0, OWN_FIT)).dataset

    def _listing(self, study: Study) -> Prepared:
        """Return what is known of the target's images before they are decoded: the strata only where its reader says them."""
        examples, dataset = self._listed(study.target_name), self._dataset(study.target_name)
        nothing = np.empty((len(examples), 0, 0))
        return Prepared(
            dataset=dataset.name,
            images=nothing.astype(np.uint8),
            masks=nothing.astype(np.uint8),
            classes=self.classes(study.target_name, study.target.classes),
            pool=dataset.pool,
            names=[example.name for example in examples],
            splits=[example.split for example in examples],
            strata=[example.stratum or "" for example in examples],
            moments=nothing,
            pixels=nothing.astype(np.int64),
            protocols=dataset.protocols,
            groups=[example.group for example in examples],
        )

    def _listed(self, name: str) -> list[Example]:
        if name not in self._examples:
            self._examples[name] = self._dataset(name).examples()
        return self._examples[name]


def dev_shares(study: Study, settings: Settings) -> tuple[float | None, ...]:
    """Return the development shares that trials of a cell have: one, or those of the tuning points."""
    if "dev_share" not in study.tune:
        return (settings.dev_share,)
    return tuple(dict.fromkeys(point["dev_share"] for point in tuning_points(study.tune, study.trials_per_cell)))


def target_split(data: Prepared, study: Study, dev_share: float | None) -> Split:
    """Return the split of a study's target."""
    target = study.target
    return split_target(data, target.protocol, dev_share, groups=target.groups, leakage=target.leakage)


def check_names(study: Study) -> None:
    """Raise `UserError` for an architecture, size, freeze policy or stage that cannot be built. Reads no data."""
    cells = [settings for _, settings in study.cells()]
    whole, encoders = _sizes_used(cells)
    for architecture, image_px in whole:
        check_architecture(architecture, image_px)
    for encoder, image_px in encoders:
        check_encoder(encoder, image_px)
    for architecture, policy in dict.fromkeys(
        (cell.architecture, policy) for cell in cells for policy in tuned_values(study, "freeze", cell.freeze)
    ):
        check_freeze_fits(architecture, policy)
    for architecture in dict.fromkeys(cell.architecture for cell in cells if _looks_at_stages(study, cell)):
        check_stages_known(architecture)
    for cell in cells:
        for stage in Source.parse(cell.source).stages:
            check_stage(stage, cell.architecture)


def _sizes_used(cells: Sequence[Settings]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return the architectures and the encoders that are trained, each with the sizes of pictures that it sees."""
    whole = [(cell.architecture, cell.image_px) for cell in cells]
    encoders = []
    for cell in cells:
        for stage in Source.parse(cell.source).stages:
            if stage.kind in SELF_SUPERVISED:
                encoders.append((encoder_name(cell.architecture), cell.source_px))
            elif stage.kind in DATASET_KINDS:
                whole.append((cell.architecture, cell.source_px))
    return list(dict.fromkeys(whole)), list(dict.fromkeys(encoders))


def _looks_at_stages(study: Study, cell: Settings) -> bool:
    """Return whether some trial of a cell treats the stages of its encoder differently."""
    return any(value != usual for axis, usual in BY_STAGE.items() for value in tuned_values(study, axis, getattr(cell, axis)))


def tuned_values(study: Study, axis: str, fixed: Any) -> Sequence[Any]:
    """Return the values of a setting that trials of a cell can have."""
    return study.tune[axis].samples() if axis in study.tune else (fixed,)


def prepare_all(study: Study, catalog: Catalog) -> None:
    """Prepare every data set of a study and check that splits, fractions, limits, losses and class maps fit it.

    What no image tells is checked before the first one is decoded. Raises `UserError`, naming the file or the setting, before
    anything is trained.
    """
    check_undecoded(study, catalog)
    prepared: dict[Name, Prepared] = {}

    def get(*wanted: Any) -> Prepared:
        if wanted not in prepared:
            prepared[wanted] = catalog.prepare(*wanted)
        return prepared[wanted]

    for _, settings in study.cells():
        target = get(study.target_name, study.target.classes, settings.image_px, settings.fit)
        check_masks(target)
        split = target_split(target, study, settings.dev_share)
        subset(target, split.train, settings.fraction, seed=0)
        check_split_masks(target, split)
        for share in dev_shares(study, settings):
            if share != settings.dev_share:
                check_split_masks(target, target_split(target, study, share))
        if settings.test_size == "original":
            catalog.prepare_masks(study)
        for stage in Source.parse(settings.source).stages:
            if stage.kind in DATASET_KINDS and stage.name is not None:
                _check_source(stage, settings, study, catalog, get(stage.name, None, settings.source_px, settings.source_fit))


def check_undecoded(study: Study, catalog: Catalog) -> None:
    """Raise `UserError` for a class name, loss, source or weight file that does not fit. Decodes no image."""
    maps, files = class_maps(study, catalog), set()
    classes = catalog.classes(study.target_name, study.target.classes)
    for _, settings in study.cells():
        for loss in tuned_values(study, "loss", settings.loss):
            check_loss(loss, classes)
        for stage in Source.parse(settings.source).stages:
            if stage.kind == "file":
                files |= _file_uses(stage, settings, study, catalog, len(classes))
            if stage.kind in DATASET_KINDS:
                _check_source_names(stage, settings, study, catalog)
    for text, architecture, scope, count in sorted(files):
        stage, model = Stage.parse(text), build_without_numbers(architecture, count)
        assert stage.name is not None
        check_file(Path(stage.name).expanduser(), model, scope, stage.prefix, maps.get(text) if scope == "all" else None)


def _check_source_names(stage: Stage, settings: Settings, study: Study, catalog: Catalog) -> None:
    """Raise `UserError` for a source that is the target's data set, without masks where it needs them, or not for its loss."""
    assert stage.name is not None
    _check_other_data(stage, study, catalog)
    if stage.kind not in SELF_SUPERVISED:
        check_loss(settings.source_loss, catalog.classes(stage.name, None))


def _check_other_data(stage: Stage, study: Study, catalog: Catalog) -> None:
    """Raise `UserError` for a source that is the target's data set, unless it needs no masks and held-out images are dropped."""
    assert stage.name is not None
    allowed = stage.kind in SELF_SUPERVISED and study.target.leakage == PREVENT
    if not allowed and catalog.same(stage.name, study.target_name):
        raise UserError(f"source {stage}: is the target's own data set; it would train on the target's test pictures")


def _check_source(stage: Stage, settings: Settings, study: Study, catalog: Catalog, source: Prepared) -> None:
    """Raise `UserError` for a source that leaves a stage too few images, or whose masks do not fit."""
    labelled = stage.kind not in SELF_SUPERVISED
    without, leakage = catalog.left_out(study, stage, settings), study.target.leakage
    split = split_source(source, stage.limit, 0, settings.source_split, labelled=labelled, without=without, leakage=leakage)
    if len(split.train) < 2:
        raise UserError(f"source {stage}: {len(split.train)} picture to train on; needs at least 2")
    if labelled:
        check_masks(source)


def _file_uses(stage: Stage, settings: Settings, study: Study, catalog: Catalog, classes: int) -> set[tuple[str, str, str, int]]:
    """Return how a cell uses a weight file: its stage, architecture, what is transferred, number of classes."""
    _, *after = Source.parse(settings.source).stages
    if after:
        scopes: Sequence[str] = ["encoder" if after[0].kind in SELF_SUPERVISED else "all-but-classifier"]
    else:
        scopes = tuned_values(study, "transfer", settings.transfer)
    if "all" in scopes and study.target.class_map and source_classes(str(stage), catalog) is None:
        raise UserError(f"transfer=all from {stage}: a file does not say its classes, so class_map cannot be applied")
    return {(str(stage), settings.architecture, scope, classes) for scope in scopes}


def class_maps(study: Study, catalog: Catalog) -> dict[str, ClassMap]:
    """Return how classes are mapped, for every source whose classes are known and that some cell transfers with its last
    classifier or, with `domain_shift`, tests before fine-tuning.

    Raises `UserError` where no class of a source that is transferred so is one of the target's, and for a synonym that is a
    class neither of any source of the study nor of any data set with a name.
    """
    if study.target_name in catalog.absent:
        return {}
    check_target_classes(study, catalog)
    known, maps, theirs = catalog.classes(study.target_name, study.target.classes), {}, {}
    for _, settings in study.cells():
        if (classes := source_classes(settings.source, catalog)) is None:
            continue
        theirs[settings.source] = classes
        transferred = "all" in tuned_values(study, "transfer", settings.transfer)
        if transferred or "on" in tuned_values(study, "domain_shift", settings.domain_shift):
            try:
                maps[settings.source] = map_classes(classes, known, study.target.class_map)
            except UserError as error:
                if transferred:
                    raise UserError(f"transfer=all from {settings.source}: {error}") from None
    if theirs:
        _check_synonyms(study.target.class_map, theirs)
    return maps


def check_target_classes(study: Study, catalog: Catalog) -> None:
    """Raise `UserError` where a study names a class that its target does not have. Nothing is known of an absent target."""
    if study.target_name in catalog.absent:
        return
    known = catalog.classes(study.target_name, study.target.classes)
    foreground_number(known, study.target.foreground)
    for name in study.target.class_map:
        if not any(same_class(name, other) for other in known):
            raise unknown("Target class_map", name, list(known))


def _check_synonyms(class_map: Mapping[str, Sequence[str]], theirs: Mapping[str, Sequence[str]]) -> None:
    """Raise `UserError` for a synonym that is a class of no source, unless a data set has it that may take a source's place."""
    names = [*class_names(), *(name for classes in theirs.values() for name in classes)]
    for name, synonyms in class_map.items():
        for synonym in synonyms:
            if not any(same_class(synonym, other) for other in names):
                listed = "; ".join(f"{source}: {', '.join(classes)}" for source, classes in theirs.items())
                raise UserError(f"Target class_map {name} <- {synonym!r}: is a class of no source; {listed}")


def source_classes(text: str, catalog: Catalog) -> Sequence[str] | None:
    """Return the classes that a source's whole model tells apart, None where it has none or they are not known."""
    source = Source.parse(text)
    last = source.stages[-1] if source.stages else None
    if last is None or source.encoder_only:
        return None
    if last.kind == "coco-weights":
        return COCO_WEIGHTS_CLASSES
    if last.kind == "file":
        return published_classes(catalog.key(f"file:{last.name}", None, 0))
    if last.kind in DATASET_KINDS and last.name is not None and last.name not in catalog.absent:
        return catalog.classes(last.name, None)
    return None
