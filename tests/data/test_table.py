import pytest

from segsweep.data.coco import Coco2017
from segsweep.data.folder import Folder
from segsweep.data.pets import Pets
from segsweep.data.scenes import GENERATED, Generated
from segsweep.data.table import DATASETS, DataRoots, class_names, known_names, open_dataset, split_scheme
from segsweep.data.voc import Voc2012
from segsweep.errors import UserError


def test_usual_folders_are_found(layouts, tmp_path):
    """Below one root, each dataset is found in its usual folder."""
    for name in set(DATASETS) - {"voc2012"}:
        getattr(layouts, name)()
    (layouts.voc() / "VOCdevkit").rename(tmp_path / "VOCdevkit")
    roots = DataRoots.parse([str(tmp_path)])
    assert open_dataset("pets", roots) == Pets(tmp_path / "oxford-iiit-pet")
    assert open_dataset("coco", roots) == Coco2017(tmp_path / "coco2017")
    assert open_dataset("voc2012", roots) == Voc2012(tmp_path)
    assert all(open_dataset(name, roots).name == name for name in DATASETS)


def test_a_folder_without_its_markers_is_not_used(layouts, tmp_path):
    """A root that is an official folder itself is found as that dataset; a usual folder without its contents is not."""
    (layouts.cityscapes() / "gtFine").rename(tmp_path / "gtFine")
    (tmp_path / "camvid").mkdir()
    roots = DataRoots.parse([str(tmp_path)])
    assert roots.folder("cityscapes") == tmp_path
    assert roots.folder("camvid") is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("pets", ("pets", None)),
        ("cityscapes/raw", ("cityscapes", "raw")),
        ("mas3k/binary", ("mas3k", "binary")),
        ("generated_pets/trimap", ("generated_pets", "trimap")),
        ("cityscapes/", ("cityscapes", "")),
        ("street/raw", ("street/raw", None)),
        ("folder:pets/trimap", ("folder:pets/trimap", None)),
        ("folder:/home/me/cityscapes/raw", ("folder:/home/me/cityscapes/raw", None)),
        ("/pets/x", ("/pets/x", None)),
    ],
)
def test_only_known_names_have_class_schemes(name, split):
    """A scheme is split off a known name; a path and a user's name are not split."""
    assert split_scheme(name) == split


def test_a_name_with_a_scheme_opens_the_dataset(layouts, tmp_path):
    """The reader of `pets/trimap` is that of `pets`."""
    layouts.pets()
    assert open_dataset("pets/trimap", DataRoots.parse([str(tmp_path)])) == Pets(tmp_path / "oxford-iiit-pet")


def test_a_list_of_folders_takes_precedence_over_usual_ones(layouts, tmp_path):
    """`datasets.toml` names folders relative to itself, also of datasets outside the table."""
    layouts.pets().rename(tmp_path / "own-pets")
    layouts.pets()
    layouts.plain()
    (tmp_path / "datasets.toml").write_text('pets = "own-pets"\nstreet = "mine"\n')
    roots = DataRoots.parse([str(tmp_path)])
    assert open_dataset("pets", roots) == Pets(tmp_path / "own-pets")
    assert open_dataset("street", roots) == Folder(tmp_path / "mine", "street")
    assert len(open_dataset("street", roots).examples()) == 6


def test_a_named_folder_takes_precedence(layouts, tmp_path):
    """`--data NAME=PATH` takes precedence over the list and the usual folder, and names a user's folder."""
    pets, mine = layouts.pets(), layouts.plain()
    (tmp_path / "datasets.toml").write_text('pets = "nowhere"\n')
    roots = DataRoots.parse([str(tmp_path), f"pets={pets}", f"street={mine}"])
    assert open_dataset("pets", roots) == Pets(pets)
    assert open_dataset("street", roots) == Folder(mine, "street")


def test_a_folder_needs_no_name(layouts):
    """`folder:PATH` is read directly, without any root."""
    mine = layouts.plain()
    assert open_dataset(f"folder:{mine}", DataRoots()) == Folder(mine, f"folder:{mine}")


def test_every_dataset_has_the_same_fit(tmp_path):
    """No dataset has another default fit: photographs, generated images and folders are all resized smoothly."""
    readers = [*(entry.reader(tmp_path) for entry in DATASETS.values()), *map(Generated, GENERATED), Folder(tmp_path, "mine")]
    assert {reader.fit for reader in readers} == {"resize"}


def test_generated_data_need_no_root():
    """Generated datasets need no folder."""
    assert open_dataset("generated_far", DataRoots()) == Generated("generated_far")


def test_unknown_names_list_the_nearest(tmp_path):
    """A name without a folder raises with the nearest names that a study may use, including the user's."""
    (tmp_path / "datasets.toml").write_text('street = "mine"\n')
    roots = DataRoots.parse([str(tmp_path), f"own={tmp_path}"])
    for wrong, near in (("cityscape", "cityscapes"), ("steet", "street")):
        with pytest.raises(UserError, match=rf"dataset: unknown name '{wrong}'; nearest: {near}.*segsweep datasets"):
            open_dataset(wrong, roots)
    assert len(set(known_names(roots))) == len(known_names(roots))


def test_a_missing_dataset_names_the_searched_folders(tmp_path):
    """A known dataset without a folder names the searched folders, the options that name another, and its layout."""
    with pytest.raises(UserError, match=r"'pets' is not found: no folder was given; pass --data ROOT or --data pets=PATH"):
        open_dataset("pets", DataRoots())
    with pytest.raises(UserError, match=rf"searched {tmp_path} for oxford-iiit-pet and pets; .*layout: images/"):
        open_dataset("pets", DataRoots.parse([str(tmp_path)]))


@pytest.mark.parametrize("name", ["pets", "street", "folder:{}/gone"])
def test_a_listed_folder_that_is_missing_is_named(tmp_path, name):
    """A listed folder that is missing raises one line with the dataset and the folder."""
    (tmp_path / "datasets.toml").write_text('pets = "gone"\nstreet = "gone"\n')
    with pytest.raises(UserError, match=rf"folder {tmp_path}/gone is missing"):
        open_dataset(name.format(tmp_path), DataRoots.parse([str(tmp_path)]))


@pytest.mark.parametrize("text", ["gone", "pets=gone", "=gone"])
def test_data_that_is_no_folder_is_refused(tmp_path, monkeypatch, text):
    """`--data` with a missing folder raises with its absolute path."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"--data {text}: folder {tmp_path}/gone is missing"):
        DataRoots.parse([text])


def test_data_that_would_be_ignored_is_refused(tmp_path):
    """A second root, a second folder for a name, and a folder for a generated dataset raise: one of them would be ignored."""
    here = str(tmp_path)
    for texts in ([here, here], [f"a={here}", f"a={here}"]):
        with pytest.raises(UserError, match="is given already; give only one folder"):
            DataRoots.parse(texts)
    with pytest.raises(UserError, match="generated_pets is generated and has no folder"):
        DataRoots.parse([f"generated_pets={here}"])


def test_relative_folders_become_absolute(tmp_path, monkeypatch):
    """Folders are stored as absolute paths, since workers have other working directories."""
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path)
    roots = DataRoots.parse([".", "pets=pets"])
    assert (roots.root, roots.named["pets"]) == (tmp_path, tmp_path / "pets")


@pytest.mark.parametrize("content", ["pets = ", "pets = 3\n", "[pets]\nfolder = 'x'\n", "pets = ['x']\n"])
def test_an_invalid_list_of_folders_is_named(tmp_path, content):
    """An invalid `datasets.toml` raises one line with the expected form."""
    (tmp_path / "datasets.toml").write_text(content)
    with pytest.raises(UserError, match=r'datasets\.toml: must hold lines NAME = "FOLDER"') as raised:
        DataRoots.parse([str(tmp_path)]).folder("pets")
    assert "\n" not in str(raised.value)


def test_a_folder_of_the_root_with_a_list_of_classes_is_a_dataset(tmp_path):
    """A folder below the root with a classes.txt is a dataset with the folder's name; other folders and known names are not."""
    for name in ("street46", "pets", "generated_near"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "images").mkdir()
        (tmp_path / name / "classes.txt").write_text("background\ncar\n")
    (tmp_path / "notes").mkdir()
    roots = DataRoots(tmp_path)
    assert roots.folder("street46") == tmp_path / "street46"
    assert dict(open_dataset("street46", roots).schemes) == {"all": ("background", "car")}
    assert [roots.folder(name) for name in ("notes", "pets", "generated_near", "../street46", str(tmp_path / "street46"))] == [
        None
    ] * 5
    assert "street46" in known_names(roots)
    elsewhere = tmp_path / "notes"
    assert DataRoots(tmp_path, {"street46": elsewhere}).folder("street46") == elsewhere


def test_classes_of_all_datasets_are_known_without_their_files():
    """The class names of every scheme are known without files."""
    assert {"stop sign", "traffic sign", "ego vehicle", "boundary", "windowpane"} <= class_names()


def test_a_folder_whose_name_a_source_divided_is_named(tmp_path):
    """If the folder before an `@` is missing and one with the `@` exists, the line shows how to write it."""
    (tmp_path / "a@2").mkdir()
    with pytest.raises(UserError, match=r"folder .*/a is missing; a@2 exists there: write its @ as %40, or use Supervised"):
        open_dataset(f"folder:{tmp_path / 'a'}", DataRoots())
