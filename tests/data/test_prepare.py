import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsweep.data.dataset import FITS, Example
from segsweep.data.folder import Folder
from segsweep.data.image_files import ORIENTATION, square
from segsweep.data.pets import Pets
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.data.scenes import Generated
from segsweep.data.splits import split_source, split_target
from segsweep.data.voc import Voc2012
from segsweep.errors import UserError
from segsweep.store.contents import DATA
from segsweep.store.folder import FolderStore

PIXELS = 24

OTHER_PROCESS = """
import sys, time
from pathlib import Path
from segsweep.data.folder import Folder
from segsweep.data.prepare import DataSpec, prepare
from segsweep.store.folder import FolderStore

folder, store, log, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])

class Slow(Folder):
    def read(self, example, scheme):
        with log.open("a") as file:
            file.write(example.name + "\\n")
        time.sleep(pause_s)
        return super().read(example, scheme)

print(len(prepare(DataSpec(Slow(folder, "mine"), None, 24), FolderStore(store), lambda *_: None).names))
"""


@dataclass(frozen=True)
class Watched:
    """A dataset that records every example that it reads."""

    data: Folder
    seen: list[str]

    def __getattr__(self, name):
        return getattr(self.data, name)

    def read(self, example: Example, scheme: str):
        """Record the example, and read it."""
        self.seen.append(example.name)
        return self.data.read(example, scheme)


def data_spec(folder: Path, **changes) -> DataSpec:
    return replace(DataSpec(Folder(folder, "mine"), None, PIXELS), **changes)


def kept(store: FolderStore) -> list[str]:
    """Return the names of the prepared data in the store, and of other entries in its folder."""
    return sorted(path.name for kind in (DATA, "temporary") for path in (store.root / kind).glob("*"))


def other_process(*arguments) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", textwrap.dedent(OTHER_PROCESS), *map(str, arguments)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_images_are_decoded_once(layouts, store, quiet):
    """The first call reads each image once, the second, with a new reader, reads none; both return equal arrays."""
    folder, seen = layouts.plain(), []
    first = prepare(DataSpec(Watched(Folder(folder, "mine"), seen), None, PIXELS), store, quiet)
    assert sorted(seen) == [f"p{number}" for number in range(6)]
    seen.clear()
    second = prepare(DataSpec(Watched(Folder(folder, "mine"), seen), None, PIXELS), store, quiet)
    assert seen == []
    assert np.array_equal(first.images, second.images)
    assert np.array_equal(first.masks, second.masks)


def test_damaged_arrays_are_decoded_again_and_reported(layouts, store, quiet):
    """Arrays with one flipped bit are set aside and decoded again, to equal bytes; a line names the dataset and the file."""
    data_spec, lines = DataSpec(Folder(layouts.plain(), "mine"), None, PIXELS), []
    prepare(data_spec, store, quiet)
    path = store.folder(DATA, prepared_key(data_spec, store, quiet)) / "images.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    prepare(data_spec, store, quiet, notify=lines.append)
    assert path.read_bytes() == whole
    (line,) = lines
    assert line.startswith(f"prepared data of mine at {PIXELS} px is damaged: images.npy has other bytes")
    assert line.endswith("; it is prepared again")


@pytest.mark.parametrize(("layout", "reader"), [("pets", Pets), ("voc", Voc2012), ("plain", lambda path: Folder(path, "mine"))])
def test_arrays_are_the_images_made_square(layouts, store, quiet, layout, reader):
    """Each row of the arrays is that example's image and mask, made square by the dataset's fit, in its order."""
    data = reader(getattr(layouts, layout)())
    found = prepare(DataSpec(data, None, PIXELS), store, quiet)
    scheme = next(iter(data.schemes))
    assert list(found.names) == [example.name for example in data.examples()]
    assert list(found.splits) == [example.split for example in data.examples()]
    assert (tuple(found.classes), tuple(found.pool)) == (tuple(data.schemes[scheme]), tuple(data.pool))
    for position, example in enumerate(data.examples()):
        image, mask = square(*data.read(example, scheme), PIXELS, data.fit)
        assert np.array_equal(found.images[position], image)
        assert np.array_equal(found.masks[position], mask)


def test_strata_are_those_of_the_examples_or_their_classes(layouts, store, quiet):
    """The stratum is the example's, or its most frequent class except the first, or 0 if it has no other."""
    folder = layouts.plain()
    layouts.mask(folder / "masks" / "p3.png", np.zeros((32, 48), np.uint8))
    assert prepare(data_spec(folder), store, quiet).strata == ("class 1", "class 2", "class 1", "class 0", "class 1", "class 2")
    pets = prepare(DataSpec(Pets(layouts.pets()), None, PIXELS), store, quiet)
    assert set(pets.strata) == {"Bengal", "great_dane"}


def test_pixels_and_moments_are_those_of_the_arrays(layouts, store, quiet):
    """Pixels per class, mean and standard deviation of any members equal those computed from the arrays."""
    found = prepare(data_spec(layouts.plain()), store, quiet)
    for position in range(6):
        counts = [int((found.masks[position] == number).sum()) for number in (0, 1, 2, 255)]
        assert found.pixels[position].tolist() == counts
    assert found.pixels[:, 3].any()
    members = np.array([1, 4, 5])
    assert np.array_equal(found.class_pixels(members), found.pixels[1][:3] + found.pixels[4][:3] + found.pixels[5][:3])
    mean, std = found.mean_std(members)
    pixels = np.asarray(found.images[members]).reshape(-1, 3) / 255
    assert mean == pytest.approx(pixels.mean(0), rel=1e-12)
    assert std == pytest.approx(pixels.std(0), rel=1e-9)
    assert isinstance(found.moments, np.memmap)
    assert isinstance(found.pixels, np.memmap)


def test_arrays_cannot_be_changed(layouts, store, quiet):
    """Arrays are memory-mapped and read-only, so that no trial can change another's data."""
    found = prepare(data_spec(layouts.plain()), store, quiet)
    assert isinstance(found.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.masks[0] = 1


def test_the_key_depends_on_data_scheme_and_size(layouts, store, quiet):
    """Another size, scheme, image or list gives another key; another folder, name or reader object does not."""
    folder = layouts.plain()
    first = prepared_key(data_spec(folder), store, quiet)
    assert prepared_key(data_spec(folder, dataset=Folder(folder, "other")), store, quiet) == first
    keys = {first, prepared_key(data_spec(folder, image_px=32), store, quiet)}
    layouts.image(folder / "images" / "p2.jpg", seed=77)
    keys.add(prepared_key(data_spec(folder), store, quiet))
    (folder / "classes.txt").write_text("background\nbus\nsign\n")
    keys.add(prepared_key(data_spec(folder), store, quiet))
    assert len(keys) == 4
    pets = DataSpec(Pets(layouts.pets()), None, PIXELS)
    assert prepared_key(pets, store, quiet) == prepared_key(replace(pets, scheme="foreground"), store, quiet)
    assert prepared_key(pets, store, quiet) != prepared_key(replace(pets, scheme="trimap"), store, quiet)


def test_the_fit_of_a_request_takes_precedence(layouts, store, quiet):
    """Another fit gives other arrays under another key; the dataset's default fit gives one key, explicit or not."""
    own = data_spec(layouts.plain())
    keys = {fit: prepared_key(replace(own, fit=fit), store, quiet) for fit in FITS}
    assert len(set(keys.values())) == len(FITS) == 4
    assert keys["resize"] == prepared_key(own, store, quiet)
    cut = prepare(replace(own, fit="raw-crop"), store, quiet)
    image, mask = own.dataset.read(own.dataset.examples()[2], "all")
    assert np.array_equal(cut.images[2], image[4:28, 12:36])
    assert np.array_equal(cut.masks[2], mask[4:28, 12:36])


@dataclass(frozen=True)
class Unlabelled:
    """Images without masks."""

    data: Folder

    def __getattr__(self, name):
        return getattr(self.data, name)

    @property
    def schemes(self):
        return {"unlabelled": ()}

    def read(self, example: Example, scheme: str):  # noqa: ARG002
        image, _ = self.data.read(example, "all")
        return image, np.empty((0, 0), np.uint8)


def test_images_without_masks(layouts, store, quiet):
    """An unlabelled dataset has images, moments and no classes, uses no space for masks, and cannot be a target."""
    found = prepare(DataSpec(Unlabelled(Folder(layouts.plain(), "mine")), None, PIXELS), store, quiet)
    assert (found.images.shape, found.masks.shape, found.classes) == ((6, PIXELS, PIXELS, 3), (6, 0, 0), ())
    assert not found.labelled
    assert (found.pixels.shape, found.pixels.sum(), len(found.class_pixels(np.arange(6)))) == ((6, 1), 0, 0)
    assert found.mean_std(np.arange(6))[0][0] == pytest.approx(found.images[..., 0].mean() / 255)
    assert not list((store.root / DATA).glob("*/masks.npy"))
    for split in (lambda: split_target(found, "60-20-20"), lambda: split_source(found, None, 0)):
        with pytest.raises(UserError, match="dataset 'mine': has no masks, so it is neither a target nor a supervised source"):
            split()


def test_a_datasets_protocols_are_used(layouts, store, quiet):
    """Protocols that the dataset declares are used by name: 50-25-25 of pets is trainval, and test in halves."""
    pets = prepare(DataSpec(Pets(layouts.pets()), None, PIXELS), store, quiet)
    split = split_target(pets, "50-25-25")
    assert split.train.tolist() == list(range(12))
    assert sorted([*split.val, *split.test]) == [12, 13, 14, 15]
    assert len(split.val) == 2


def test_a_changed_dataset_is_prepared_beside_the_old_one(layouts, store, quiet):
    """After a change, new arrays are built, and the old ones stay for processes that still read them."""
    folder = layouts.plain()
    old = prepare(data_spec(folder), store, quiet)
    layouts.mask(folder / "masks" / "p0.png", np.full((32, 48), 2, np.uint8))
    new = prepare(data_spec(folder), store, quiet)
    assert (new.masks[0] == 2).all()
    assert (old.masks[0] == 1).any()
    assert len(kept(store)) == 2


def test_files_that_change_during_preparation_are_refused(layouts, store, quiet):
    """Images that change while they are read raise, and nothing is kept under the key of the old ones."""
    folder = layouts.plain()

    class Restless(Folder):
        def read(self, example, scheme):
            if example.name == "p5":
                layouts.mask(folder / "masks" / "p0.png", np.full((32, 48), 2, np.uint8))
            return super().read(example, scheme)

    with pytest.raises(UserError, match="dataset 'mine': its files changed while they were read; start again"):
        prepare(data_spec(folder, dataset=Restless(folder, "mine")), store, quiet)
    assert kept(store) == []
    assert (prepare(data_spec(folder), store, quiet).masks[0] == 2).all()


def test_the_cache_of_a_reader_is_not_trusted(layouts, store, quiet):
    """A reader that cached a list before the list changed puts neither old masks nor old splits under the new key."""
    folder = layouts.plain(count=4, train="p0\np1\n", val="p2\n")
    remembering = Folder(folder, "mine")
    remembering.examples()
    assert len(remembering.schemes["all"]) == 3
    (folder / "classes.txt").write_text("background\ncar\n")
    (folder / "val.txt").write_text("p3\n")
    with pytest.raises(UserError, match="mask value 2 is outside the classes; allowed are 0, 1, 255"):
        prepare(data_spec(folder, dataset=remembering), store, quiet)


def test_an_image_that_is_added_during_preparation_is_left_out(layouts, store, quiet):
    """An image that is added between the key and the decoding is not part of the arrays under that key."""
    folder = layouts.plain()
    asked = data_spec(folder)
    key = prepared_key(asked, store, quiet)
    layouts.image(folder / "images" / "p9.jpg")
    layouts.mask(folder / "masks" / "p9.png", np.zeros((32, 48), np.uint8))
    with pytest.raises(UserError, match="its files changed while they were read; start again"):
        prepare(asked, store, quiet, key)
    assert kept(store) == []
    assert len(prepare(data_spec(folder), store, quiet).names) == 7


def test_names_of_all_kinds_are_prepared(layouts, store, quiet):
    """Spaces, other scripts and shell characters in folder and file names change nothing."""
    names = ["a b", "chat-noir-é", "猫", "x;$(y) 'z'", "%20"]
    folder = layouts.plain(count=0, name="mes données")
    for number, name in enumerate(names):
        layouts.image(folder / "images" / f"{name}.jpg", seed=number)
        layouts.mask(folder / "masks" / f"{name}.png", np.full((32, 48), number % 3, np.uint8))
    found = prepare(data_spec(folder), store, quiet)
    assert sorted(found.names) == sorted(names)
    assert all((found.masks[at] == names.index(name) % 3).all() for at, name in enumerate(found.names))


def test_names_that_differ_in_case(layouts, store, quiet):
    """`Cat` and `cat` are two images with a mask each; a mask in another case is named in one line."""
    folder = layouts.plain(count=0)
    for number, name in enumerate(("cat", "Cat", "CAT")):
        layouts.image(folder / "images" / f"{name}.JPG", seed=number)
        layouts.mask(folder / "masks" / f"{name}.png", np.full((32, 48), number, np.uint8))
    if len(list((folder / "masks").iterdir())) < 3:
        pytest.skip("this disk does not tell capitals apart")
    found = prepare(data_spec(folder), store, quiet)
    assert dict(zip(found.names, found.masks[:, 0, 0].tolist(), strict=True)) == {"cat": 0, "Cat": 1, "CAT": 2}
    (folder / "masks" / "CAT.png").rename(folder / "masks" / "cAT.png")
    with pytest.raises(UserError, match=r"images/CAT\.JPG: has no mask; .* Cat\.png beside it differs only in case"):
        prepare(data_spec(folder), store, quiet)


def test_a_listed_name_with_other_capitals_is_refused(layouts, store, quiet):
    """A list that names `bengal_0` while the file is `Bengal_0.jpg` gives one line that names the file."""
    folder = layouts.pets()
    listing = folder / "annotations" / "trainval.txt"
    listing.write_text(listing.read_text().replace("Bengal_0 ", "bengal_0 "))
    if (folder / "images" / "bengal_0.jpg").is_file():
        pytest.skip("this disk does not tell capitals apart")
    with pytest.raises(
        UserError, match=r"bengal_0\.jpg: file is missing; and 1 more; Bengal_0\.jpg beside it differs only in case"
    ):
        prepare(DataSpec(Pets(folder), None, PIXELS), store, quiet)


@pytest.mark.parametrize(("limit", "refused"), [(1000, False), (700, True)])
def test_huge_images_are_refused_in_one_line(layouts, store, quiet, monkeypatch, limit, refused):
    """Above Pillow's limit, an image is refused in one line; above half of it, where Pillow warns, it is read silently."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # images have 1536 pixels; twice this is the limit
    folder = layouts.plain()
    if refused:
        with pytest.raises(UserError, match=r"p0\.jpg: image has 0 megapixels; allowed are at most 0: cut it"):
            prepare(data_spec(folder), store, quiet)
    else:
        assert len(prepare(data_spec(folder), store, quiet).names) == 6


def test_a_rotated_image_with_an_unrotated_mask_is_refused(layouts, store, quiet):
    """A camera image whose mask was drawn on the stored rows gives a one-line error, and nothing is kept."""
    folder, exif = layouts.plain(), Image.Exif()
    exif[ORIENTATION] = 6
    Image.open(folder / "images" / "p1.jpg").save(folder / "images" / "p1.jpg", exif=exif)
    with pytest.raises(
        UserError, match=r"p1\.png: mask is 48x32 but its image is 32x48 pixels; the image's EXIF asks for a rotation"
    ):
        prepare(data_spec(folder), store, quiet)
    assert kept(store) == []


def bad_mask(layouts, folder):
    mask = np.zeros((32, 48), np.uint8)
    mask[3, 3] = 9
    layouts.mask(folder / "masks" / "p2.png", mask)


BAD = {
    "missing mask": (lambda _, folder: (folder / "masks" / "p2.png").unlink(), r"images/p2\.jpg: has no mask"),
    "other size": (
        lambda layouts, folder: layouts.mask(folder / "masks" / "p2.png", np.zeros((32, 40), np.uint8)),
        r"masks/p2\.png: mask is 40x32 but its image is 48x32 pixels",
    ),
    "foreign value": (bad_mask, r"masks/p2\.png: mask value 9 is outside the classes; allowed are 0, 1, 2, 255"),
    "no image": (
        lambda _, folder: (folder / "images" / "p2.jpg").write_bytes(b"no image"),
        r"images/p2\.jpg: image cannot be read",
    ),
    "cut image": (
        lambda _, folder: (folder / "images" / "p2.jpg").write_bytes((folder / "images" / "p2.jpg").read_bytes()[:300]),
        r"images/p2\.jpg: image cannot be read",
    ),
    "empty file": (lambda _, folder: (folder / "masks" / "p2.png").write_bytes(b""), r"masks/p2\.png: mask cannot be read"),
    "colours": (
        lambda layouts, folder: layouts.image(folder / "masks" / "p2.png", form="PNG"),
        r"masks/p2\.png: mask has mode RGB; allowed are palette and grey",
    ),
    "no images": (lambda _, folder: [path.unlink() for path in (folder / "images").iterdir()], r"images holds no images"),
    "empty list": (lambda _, folder: (folder / "train.txt").write_text("\n"), r"'mine': holds no images"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_line_that_names_the_file(layouts, store, quiet, kind):
    """Every kind of bad input raises one line that names the file, and nothing is kept."""
    spoil, message = BAD[kind]
    folder = layouts.plain()
    spoil(layouts, folder)
    with pytest.raises(UserError, match=message) as raised:
        prepare(data_spec(folder), store, quiet)
    assert "\n" not in str(raised.value)
    assert kept(store) == []


def test_several_bad_files_are_counted(layouts, store, quiet):
    """Of many bad files, the first three are named, in order, and the rest is counted."""
    folder = layouts.plain()
    for number in range(5):
        layouts.mask(folder / "masks" / f"p{number}.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match=r"p0\.png: .*p1\.png: .*p2\.png: .*; and 2 more$") as raised:
        prepare(data_spec(folder), store, quiet)
    assert "p3.png" not in str(raised.value)


def test_a_repaired_dataset_is_prepared(layouts, store, quiet):
    """After a failure and a repair, the same request succeeds."""
    folder = layouts.plain()
    good = (folder / "images" / "p2.jpg").read_bytes()
    (folder / "images" / "p2.jpg").write_bytes(good[:100])
    with pytest.raises(UserError):
        prepare(data_spec(folder), store, quiet)
    (folder / "images" / "p2.jpg").write_bytes(good)
    assert len(prepare(data_spec(folder), store, quiet).names) == 6


def test_an_image_listed_twice_is_refused(layouts, store, quiet):
    """A name in two official lists would be used for training and test, so it is refused."""
    folder = layouts.pets()
    with (folder / "annotations" / "test.txt").open("a") as file:
        file.write("Bengal_0 1 1 1\n")
    with pytest.raises(UserError, match="dataset 'pets': Bengal_0 is listed twice; an image has one split"):
        prepare(DataSpec(Pets(folder), None, PIXELS), store, quiet)


def test_unknown_classes_are_refused(layouts, store, quiet):
    """A class scheme that the dataset does not have raises with the known ones."""
    with pytest.raises(UserError, match=r"classes of pets: unknown name 'breeds'; known: foreground, trimap"):
        prepare(DataSpec(Pets(layouts.pets()), "breeds", PIXELS), store, quiet)


def test_odd_metadata_does_not_warn(layouts, store, quiet):
    """A palette with transparency and broken EXIF do not warn, and the process's warning filters do not change."""
    folder = layouts.plain(count=40)
    content = (folder / "images" / "p0.jpg").read_bytes()
    exif = b"\xff\xe1\x00\x16Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x12\x01"
    (folder / "images" / "p0.jpg").write_bytes(content[:2] + exif + content[2:])
    before = list(warnings.filters)
    assert len(prepare(data_spec(folder), store, quiet).names) == 40
    assert warnings.filters == before


def test_generated_sets_are_prepared_without_files(store, quiet):
    """A generated dataset is prepared like any other; its key does not depend on any folder."""
    data = DataSpec(Generated("generated_far"), None, 16)
    found = prepare(data, store, quiet)
    assert found.images.shape == (480, 16, 16, 3)
    assert set(np.unique(found.masks).tolist()) == {0, 1}
    assert set(found.strata) == {"naevus", "keratosis", "melanoma"}


def test_processes_that_start_together_build_once(layouts, tmp_path):
    """Three processes that prepare the same data at once decode each image once in total, and all get the arrays."""
    folder, log = layouts.plain(), tmp_path / "log"
    children = [other_process(folder, tmp_path / "store", log, 0.05) for _ in range(3)]
    outputs = [child.communicate(timeout=50) for child in children]
    assert [out.strip() for out, _ in outputs] == ["6", "6", "6"], outputs
    assert sorted(log.read_text().split()) == [f"p{number}" for number in range(6)]
    assert len(kept(FolderStore(tmp_path / "store"))) == 1


def wait_for(log: Path, lines: int, child: subprocess.Popen) -> None:
    deadline = time.monotonic() + 40
    while (not log.exists() or len(log.read_text().split()) < lines) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert log.exists(), child.communicate(timeout=5)


def killed_in_the_middle(folder: Path, store: FolderStore, log: Path, decoded: int) -> list[str]:
    """Prepare in another process, kill it after it has decoded some images, and return the images that it finished."""
    child = other_process(folder, store.root, log, 0.05)
    wait_for(log, decoded + os.cpu_count() + 1, child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    marks = np.load(next(store.root.glob("work/prepare-*")) / "marks.npy")
    names = [example.name for example in Folder(folder, "mine").examples()]
    return [names[position] for position in np.flatnonzero(marks)]


def test_a_killed_process_leaves_no_trusted_arrays(layouts, tmp_path, quiet):
    """After `kill -9` in the middle, there are no arrays, the lock is free, and the next process builds them and cleans up."""
    folder, log, store = layouts.plain(), tmp_path / "log", FolderStore(tmp_path / "store")
    child = other_process(folder, store.root, log, 60)
    wait_for(log, 1, child)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    key = prepared_key(data_spec(folder), store, quiet)
    assert store.find(DATA, key) is None
    assert len(list((store.root / "temporary").iterdir())) == 1
    assert len(prepare(data_spec(folder), store, quiet).names) == 6
    assert kept(store) == [key]


def test_the_work_of_a_killed_process_is_resumed(layouts, tmp_path, quiet):
    """After `kill -9`, decoded images are not decoded again, and the arrays equal those of an undisturbed run."""
    folder, log, store = layouts.plain(count=30), tmp_path / "log", FolderStore(tmp_path / "store")
    done = killed_in_the_middle(folder, store, log, 8)
    assert 8 <= len(done) < 30
    seen: list[str] = []
    found = prepare(DataSpec(Watched(Folder(folder, "mine"), seen), None, PIXELS), store, quiet)
    assert sorted(seen) == sorted({f"p{number}" for number in range(30)} - set(done))
    assert list((store.root / "work").iterdir()) == []
    undisturbed = prepare(data_spec(folder), FolderStore(tmp_path / "other"), quiet)
    for name in ("images", "masks", "moments", "pixels", "identity", "shown"):
        assert np.array_equal(getattr(found, name), getattr(undisturbed, name))
    assert found.strata == undisturbed.strata


def test_a_half_written_image_is_decoded_again(layouts, tmp_path, quiet):
    """A page that a machine crash has lost is detected by its checksum: that image is decoded again."""
    folder, store = layouts.plain(count=30), FolderStore(tmp_path / "store")
    done = killed_in_the_middle(folder, store, tmp_path / "log", 8)
    images = np.load(next(store.root.glob("work/prepare-*")) / "images.npy", mmap_mode="r+")
    images[[example.name for example in Folder(folder, "mine").examples()].index(done[3]), 5:9] = 0
    images.flush()
    seen: list[str] = []
    prepare(DataSpec(Watched(Folder(folder, "mine"), seen), None, PIXELS), store, quiet)
    assert done[3] in seen
    assert not set(seen) & set(done[:3])


def test_files_that_change_between_two_runs_are_decoded_again(layouts, tmp_path, quiet):
    """A mask that had other contents while a killed run decoded it, and is restored now, is decoded again."""
    folder, store = layouts.plain(count=30), FolderStore(tmp_path / "store")
    done = killed_in_the_middle(folder, store, tmp_path / "log", 8)
    mask = folder / "masks" / f"{done[0]}.png"
    mask.write_bytes(mask.read_bytes())  # the old contents are restored with a new time
    seen: list[str] = []
    prepare(DataSpec(Watched(Folder(folder, "mine"), seen), None, PIXELS), store, quiet)
    assert set(done) <= set(seen)


@pytest.mark.parametrize(("spoilt", "kept_bytes"), [("images.npy", 500), ("marks.npy", 0), ("masks.npy", 20), ("begun.txt", 20)])
def test_a_damaged_unfinished_folder_is_restarted(layouts, tmp_path, quiet, spoilt, kept_bytes):
    """A cut or missing file of a killed run only causes decoding again."""
    folder, store = layouts.plain(count=30), FolderStore(tmp_path / "store")
    killed_in_the_middle(folder, store, tmp_path / "log", 8)
    path = next(store.root.glob("work/prepare-*")) / spoilt
    path.write_bytes(path.read_bytes()[:kept_bytes])
    seen: list[str] = []
    found = prepare(DataSpec(Watched(Folder(folder, "mine"), seen), None, PIXELS), store, quiet)
    assert len(seen) == 30
    assert np.array_equal(found.images, prepare(data_spec(folder), FolderStore(tmp_path / "other"), quiet).images)


@pytest.mark.parametrize(
    ("limit_kb", "what"),
    [
        (4, "the list of file contents needs 0.0 MB in {}/manifests"),
        (30, "dataset 'mine' at 24 px: needs 0.1 MB in {}"),
        (50, "dataset 'mine' at 24 px: needs 0.1 MB in {}"),
    ],
)
def test_a_full_disk_is_one_line(layouts, tmp_path, limit_kb, what):
    """If the arrays do not fit, a real process ends with one line that names the needed space and the location."""
    folder, store = layouts.plain(count=30), tmp_path / "store"
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_kb * 1024}, {limit_kb * 1024}))\n"
    code = limit + textwrap.dedent(OTHER_PROCESS)
    env = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, *map(str, (folder, store, tmp_path / "log", 0))]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended
    last = ended.stderr.strip().splitlines()[-1]
    assert f"error: {what.format(store)}, which cannot be written: File too large; make room" in last
    assert not (tmp_path / "log").exists()
    assert kept(FolderStore(store)) == list((store / "work").glob("*")) == []


def test_a_disk_that_fills_up_at_the_end_is_one_line(layouts, store, quiet, monkeypatch):
    """If the last small files do not fit, the line is the same, and nothing is kept."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match=r"'mine' at 24 px: needs 0\.0 MB in .*: No space left on device; make room"):
        prepare(data_spec(layouts.plain()), store, quiet)
    assert kept(store) == list((store.root / "work").iterdir()) == []


def test_a_cut_array_is_built_again(layouts, store, quiet):
    """Prepared data with a cut or missing file count as missing and are decoded again."""
    folder = layouts.plain()
    first = np.array(prepare(data_spec(folder), store, quiet).images)
    path = store.folder(DATA, prepared_key(data_spec(folder), store, quiet)) / "images.npy"
    path.write_bytes(path.read_bytes()[:500])
    assert np.array_equal(prepare(data_spec(folder), store, quiet).images, first)
