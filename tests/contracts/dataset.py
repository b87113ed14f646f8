"""Contract of dataset readers, wherever the images come from: classes of tests that the tests of a reader inherit."""

import os
import shutil
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from PIL import Image

from segsweep.config.user_objects import is_dataset
from segsweep.data.dataset import FITS, IGNORE, Dataset
from segsweep.data.manifest import content_digest
from segsweep.data.prepared import Prepared
from segsweep.data.splits import split_source, split_target
from segsweep.errors import UserError
from segsweep.store.folder import FolderStore

OFFICIAL = {"train", "val", "test", "trainval"}  # splits that protocols know
READ = 12  # most examples that a test reads
ORDERS = {  # sort keys that simulate the order in which a file system lists files
    "backwards": lambda name: [-ord(letter) for letter in name],
    "mixed": lambda name: zlib.crc32(name.encode()),
}


class Entries:
    """The entries of a folder in a given order, as `os.scandir` gives them."""

    def __init__(self, entries: Iterable[Any]) -> None:
        self._entries = iter(entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def close(self) -> None:
        """Do nothing: the entries are in memory."""


def key(dataset: Dataset, folder: Path, scheme: str | None = None) -> str:
    """Return the key of a dataset's contents; `folder` contains the cache of file facts."""
    return content_digest(dataset, scheme or next(iter(dataset.schemes)), FolderStore(folder / "store"), lambda *_: None)


def undecoded(dataset: Dataset) -> Prepared:
    """Return the facts that protocols need of a dataset, without decoding its images."""
    return Prepared.undecoded(dataset, dataset.examples(), next(iter(dataset.schemes.values())))


def read_all(dataset: Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the arrays of the first examples, under the first scheme."""
    return [dataset.read(example, next(iter(dataset.schemes))) for example in dataset.examples()[:READ]]


class DatasetContract:
    """Tests of one reader. A subclass has a fixture `make`: each call returns a new reader of the same small dataset."""

    @pytest.fixture
    def make(self) -> Callable[[], Dataset]:
        raise NotImplementedError

    def test_it_describes_itself(self, make: Callable[[], Dataset]) -> None:
        """A reader has all attributes of a dataset, a name, a revision, a known fit, and schemes with distinct class names."""
        dataset = make()
        assert is_dataset(dataset)
        assert dataset.name
        assert dataset.revision()
        assert dataset.fit in FITS
        for classes in dataset.schemes.values():
            assert all(isinstance(name, str) and name for name in classes)
            assert len(set(classes)) == len(classes) <= IGNORE
        assert all(map(len, dataset.schemes.values())) or list(map(len, dataset.schemes.values())) == [0]

    def test_examples_are_the_same_each_time(self, make: Callable[[], Dataset]) -> None:
        """Two readers list the same examples in one order, with unique names, in official splits that a protocol knows."""
        dataset = make()
        examples = dataset.examples()
        assert examples == dataset.examples() == make().examples()
        assert max(Counter(example.name for example in examples).values()) == 1
        splits = {example.split for example in examples}
        assert splits <= OFFICIAL | set(dataset.pool)
        assert splits & set(dataset.pool)

    def test_arrays_fit_the_scheme(self, make: Callable[[], Dataset]) -> None:
        """An image is (H, W, 3) and its mask (H, W), both uint8; the mask has classes or 255, and is (0, 0) without classes."""
        dataset = make()
        for scheme, classes in dataset.schemes.items():
            for example in dataset.examples()[:READ]:
                image, mask = dataset.read(example, scheme)
                height, width, channels = image.shape
                assert channels == 3
                assert mask.shape == ((height, width) if classes else (0, 0))
                assert image.dtype == mask.dtype == np.uint8
                assert set(np.unique(mask).tolist()) <= {*range(len(classes)), IGNORE}

    def test_an_example_reads_the_same_in_any_order(self, make: Callable[[], Dataset]) -> None:
        """An example gives the same image and mask whatever was read before it."""
        dataset, scheme = make(), next(iter(make().schemes))
        examples = dataset.examples()[:READ]
        backwards = [dataset.read(example, scheme) for example in reversed(examples)][::-1]
        for (image, mask), (image_again, mask_again) in zip(read_all(make()), backwards, strict=True):
            assert np.array_equal(image, image_again)
            assert np.array_equal(mask, mask_again)

    def test_protocols_divide_the_pool(self, make: Callable[[], Dataset]) -> None:
        """Per cents divide all examples of the pool; the dataset's protocols divide those of the splits that they name."""
        dataset = make()
        data, splits = undecoded(dataset), [example.split for example in dataset.examples()]
        divisions = {"40-30-30": [(dataset.pool, (40, 30, 30))], **dataset.protocols}
        for protocol, division in divisions.items() if data.classes else ():
            split = split_target(data, protocol, leakage="report")
            parts = (split.train, split.val, split.test)
            named = {official for officials, _ in division for official in officials}
            assert sorted(np.concatenate(parts).tolist()) == [at for at, split in enumerate(splits) if split in named]
            for number, part in enumerate(parts):
                allowed = {official for officials, shares in division if shares[number] for official in officials}
                assert {splits[at] for at in part.tolist()} <= allowed
            assert all(sum(shares) == 100 for _, shares in division)

    def test_a_source_holds_no_official_test_image(self, make: Callable[[], Dataset]) -> None:
        """As a source, a dataset has disjoint training and validation images, none of them from its test split."""
        data = undecoded(make())
        split = split_source(data, None, 0, labelled=bool(data.classes), leakage="report")
        train, val = set(split.train.tolist()), set(split.val.tolist())
        assert train
        assert val
        assert not train & val
        assert "test" not in {data.splits[at] for at in train | val}

    def test_the_key_is_stable(self, make: Callable[[], Dataset], tmp_path: Path) -> None:
        """Two readers of the same data have one key for each scheme, and different schemes have different keys."""
        keys = [key(make(), tmp_path, scheme) for scheme in make().schemes]
        assert [key(make(), tmp_path / "again", scheme) for scheme in make().schemes] == keys
        assert len(set(keys)) == len(keys)


class FolderDatasetContract(DatasetContract):
    """Tests of a reader of a folder. A subclass has the fixtures `folder`, a small dataset, and `reader_of`."""

    @pytest.fixture
    def folder(self) -> Path:
        raise NotImplementedError

    @pytest.fixture
    def reader_of(self) -> Callable[[Path], Dataset]:
        raise NotImplementedError

    @pytest.fixture
    def foreign(self) -> int:
        """A value that is not allowed in a mask."""
        return 200

    @pytest.fixture
    def make(self, folder: Path, reader_of: Callable[[Path], Dataset]) -> Callable[[], Dataset]:
        return lambda: reader_of(folder)

    @pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
    def test_the_file_system_decides_no_order(
        self, make: Callable[[], Dataset], monkeypatch: pytest.MonkeyPatch, order: Callable[[str], Any]
    ) -> None:
        """Examples and files come in one order, whatever the order in which the file system lists them."""
        examples, files = make().examples(), make().files()
        listed, scanned = os.listdir, os.scandir

        def scan(*where: Any) -> Entries:
            with scanned(*where) as entries:
                return Entries(sorted(entries, key=lambda entry: order(entry.name)))

        monkeypatch.setattr(os, "listdir", lambda *where: sorted(listed(*where), key=order))
        monkeypatch.setattr(os, "scandir", scan)
        assert make().examples() == examples
        assert make().files() == files

    def test_every_file_that_counts_exists(self, make: Callable[[], Dataset]) -> None:
        """Each listed file exists, is listed once, and the list includes the files of all examples."""
        files = make().files()
        assert all(path.is_file() for path in files)
        assert len(set(files)) == len(files) > 0
        assert {path for example in make().examples() for path in (example.image, example.mask) if path} <= set(files)

    def test_other_files_do_not_count(
        self, folder: Path, reader_of: Callable[[Path], Dataset], make: Callable[[], Dataset], tmp_path: Path
    ) -> None:
        """A copy of only the listed files reads the same and has the same key; an additional note changes neither."""
        copy = tmp_path / "deep" / "copy"
        for path in make().files():
            (copy / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy / path.relative_to(folder))
        (copy / "notes.md").write_text("nothing")
        assert [example.name for example in reader_of(copy).examples()] == [example.name for example in make().examples()]
        for (image, mask), (image_again, mask_again) in zip(read_all(make()), read_all(reader_of(copy)), strict=True):
            assert np.array_equal(image, image_again)
            assert np.array_equal(mask, mask_again)
        assert key(reader_of(copy), tmp_path) == key(make(), tmp_path)

    def test_any_changed_file_changes_the_key(self, make: Callable[[], Dataset], tmp_path: Path) -> None:
        """One more byte in any listed file changes the key; the old bytes give the old key, whatever the file's time."""
        first, keys = key(make(), tmp_path), []
        for path in make().files():
            content = path.read_bytes()
            path.write_bytes(content + b"\n")
            keys.append(key(make(), tmp_path))
            path.write_bytes(content)
        assert len({first, *keys}) == 1 + len(make().files())
        assert key(make(), tmp_path) == first

    def test_a_missing_folder_is_one_line(self, reader_of: Callable[[Path], Dataset], tmp_path: Path) -> None:
        """Creating a reader does not access its folder; listing a missing folder raises one line that names it."""
        with pytest.raises(UserError, match="nowhere") as raised:
            reader_of(tmp_path / "nowhere").examples()
        assert "\n" not in str(raised.value)

    def test_a_file_that_is_not_an_image_is_one_line(self, make: Callable[[], Dataset]) -> None:
        """An image that cannot be decoded raises one line that names its file."""
        example = make().examples()[0]
        path = example.image or make().files()[0]
        path.write_bytes(b"no image")
        with pytest.raises(UserError, match=path.name) as raised:
            make().read(example, next(iter(make().schemes)))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("kind", ["missing", "no image", "another size", "a foreign value"])
    def test_a_wrong_mask_is_one_line(self, make: Callable[[], Dataset], kind: str, foreign: int) -> None:
        """A mask that is missing, not an image, of another size than its image, or with an unknown value raises one line."""
        for example in [example for example in make().examples() if example.mask is not None][:1]:
            assert example.mask is not None
            with Image.open(example.mask) as image:
                size = image.size
            example.mask.unlink()
            if kind == "no image":
                example.mask.write_bytes(b"no image")
            elif kind != "missing":
                width, height = size if kind == "a foreign value" else (size[0] + 1, size[1])
                values: Sequence[int] = [foreign if kind == "a foreign value" else 0]
                Image.fromarray(np.full((height, width), values, np.uint8)).save(example.mask)
            with pytest.raises(UserError, match=example.mask.name) as raised:
                make().read(example, next(iter(make().schemes)))
            assert "\n" not in str(raised.value)
