"""CIFAR-10 and cats and dogs: images without masks, and pickles that run no code."""

import io
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from segsweep.data.cats_dogs import CatsDogs
from segsweep.data.cifar10 import Cifar10, read_batch
from segsweep.data.folder import Folder
from segsweep.data.prepare import DataSpec, prepare
from segsweep.errors import UserError
from segsweep.store.folder import FolderStore


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_cifar10_images(layouts, protocol):
    """Planes of red, green and blue become images, in the order of the files, for any pickle protocol."""
    data = Cifar10(layouts.cifar10(protocol=protocol))
    examples = data.examples()
    assert [example.split for example in examples] == ["train"] * 20 + ["test"] * 4
    assert (examples[1].name, examples[1].stratum) == ("data_batch_1/00001", "automobile")
    image, mask = data.read(examples[3], "unlabelled")
    assert (image.shape, mask.shape) == ((32, 32, 3), (0, 0))
    assert np.unique(image.reshape(-1, 3), axis=0).tolist() == [[3, 103, 203]]


def test_cifar10_as_python_2_wrote_it(layouts):
    """The official files were written by Python 2 and numpy 1: their strings, and numpy's old module name, are read."""
    folder = layouts.cifar10()
    path = folder / "cifar-10-batches-py" / "data_batch_1"
    table = np.arange(2 * 3072, dtype=np.uint64).astype(np.uint8).tobytes()

    def text(content: bytes) -> bytes:
        return b"U" + bytes([len(content)]) + content

    def array() -> bytes:
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + text(b"b") + b"tR"
        kind = b"cnumpy\ndtype\n(" + text(b"u1") + b"I0\nI1\ntR(I3\n" + text(b"|") + b"NNNI-1\nI-1\nI0\ntb"
        data = b"T" + struct.pack("<i", len(table)) + table
        return made + b"(I1\n(I2\nI3072\nt" + kind + b"I00\n" + data + b"tb"

    path.write_bytes(b"(d" + text(b"data") + array() + b"s" + text(b"labels") + b"(lI6\naI9\nas.")
    batch = read_batch(path)
    assert batch.labels == [6, 9]
    assert batch.images[0, 0, :3].tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    assert batch.images[1].transpose(2, 0, 1).tobytes() == table[3072:]


class Touch:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Evaluate:
    def __reduce__(self):
        return eval, ("1 + 1",)


class Codec:
    """An object that is decoded with a decompressing codec when it is unpickled."""

    def __reduce__(self):
        import codecs

        return codecs.encode, ("abc", "zlib_codec")


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", [Evaluate, Codec, Touch])
def test_cifar10_runs_no_code(layouts, tmp_path, protocol, kind):
    """A batch that needs any function outside the allowed ones is one line that names it, and nothing is called."""
    folder = layouts.cifar10()
    evil = kind(tmp_path / "touched") if kind is Touch else kind()
    path = folder / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps({b"data": evil, b"labels": []}, protocol))
    with pytest.raises(UserError, match=r"data_batch_3: cannot be read as a batch of CIFAR-10: UnpicklingError") as raised:
        Cifar10(folder).examples()
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "touched").exists()


TABLE = np.zeros((2, 3072), np.uint8)
NO_BATCHES = {
    "empty": b"",
    "text": b"no pickle at all",
    "list": pickle.dumps([1, 2]),
    "no table": pickle.dumps({b"labels": [1, 2]}),
    "text table": pickle.dumps({b"data": "x", b"labels": [1]}),
    "another shape": pickle.dumps({b"data": TABLE[:, :100], b"labels": [1, 2]}),
    "other numbers": pickle.dumps({b"data": TABLE.astype(np.int64), b"labels": [1, 2]}),
    "too few labels": pickle.dumps({b"data": TABLE, b"labels": [1]}),
    "label beyond": pickle.dumps({b"data": TABLE, b"labels": [1, 10]}),
    "cut": pickle.dumps({b"data": TABLE, b"labels": [1, 2]})[:700],
}


@pytest.mark.parametrize("kind", NO_BATCHES)
def test_invalid_cifar10_files_are_named(layouts, kind):
    """A file that is not a batch is one line that names it."""
    folder = layouts.cifar10()
    (folder / "cifar-10-batches-py" / "test_batch").write_bytes(NO_BATCHES[kind])
    with pytest.raises(UserError, match=r"test_batch: .*batch of CIFAR-10") as raised:
        Cifar10(folder).examples()
    assert "\n" not in str(raised.value)


def test_cifar10_damaged_anywhere(layouts):
    """Changed bytes anywhere in a batch give images or a one-line error, never another error."""
    folder, rng = layouts.cifar10(count=2), np.random.default_rng(0)
    path = folder / "cifar-10-batches-py" / "data_batch_1"
    good = path.read_bytes()
    whole, messages = 0, []
    for _ in range(300):
        content = bytearray(good)
        content[rng.integers(0, 200)] = rng.integers(0, 256)
        path.write_bytes(content)
        try:
            read_batch(path)
            whole += 1
        except UserError as error:
            messages.append(str(error))
    assert 0 < whole < 300
    assert not any("\n" in message for message in messages)


def test_cats_and_dogs_in_folders(layouts):
    """Images are found by split and kind; both splits may have equal names."""
    folder = layouts.cats_dogs()
    layouts.image(folder / "test" / "cats" / "cat.0.jpg")
    examples = CatsDogs(folder).examples()
    assert [example.split for example in examples] == ["train"] * 4 + ["test"] * 3
    assert examples[0].name == "train/cats/cat.0"
    assert {example.stratum for example in examples} == {"cat", "dog"}


def test_cats_and_dogs_in_one_folder(layouts):
    """Kaggle's flat `train` is read, its `test1` is not."""
    examples = CatsDogs(layouts.cats_dogs(flat=True)).examples()
    assert [example.name for example in examples] == [f"train/{kind}.{number}" for kind in ("cat", "dog") for number in range(3)]
    assert [example.stratum for example in examples] == ["cat"] * 3 + ["dog"] * 3


@pytest.mark.parametrize(("layout", "reader", "count"), [("cifar10", Cifar10, 24), ("cats_dogs", CatsDogs, 6)])
def test_they_are_prepared_without_masks(layouts, store, quiet, layout, reader, count):
    """Both become arrays without masks and classes."""
    found = prepare(DataSpec(reader(getattr(layouts, layout)()), None, 16), store, quiet)
    assert (found.images.shape, found.masks.shape, found.labelled) == ((count, 16, 16, 3), (count, 0, 0), False)
    assert found.images[3].std() > 0


def test_an_unrestricted_unpickler_runs_the_code(tmp_path):
    """An unrestricted unpickler does create the file, so the refusal above is the reader's."""
    content = pickle.dumps(Touch(tmp_path / "touched"))
    pickle.load(io.BytesIO(content))  # noqa: S301 shows what the reader must not do
    assert (tmp_path / "touched").exists()


def test_a_folder_of_only_images_is_unlabelled(boxes, tmp_path):
    """Without `masks/` and `classes.txt`, a folder has images and no masks; with one of them, it must have the other."""
    folder = Path(shutil.copytree(boxes, tmp_path / "photos"))
    shutil.rmtree(folder / "masks")
    with pytest.raises(UserError, match=r"images/000.png: has no mask, nor have 39 more; .*masks is missing"):
        prepare(DataSpec(Folder(folder, "photos"), None, 32), FolderStore(tmp_path / "store"), lambda *_: None)
    (folder / "classes.txt").unlink()
    data = Folder(folder, "photos")
    assert data.schemes == {"unlabelled": ()}
    assert all(path.parent.name == "images" for path in data.files())
    prepared = prepare(DataSpec(data, None, 32), FolderStore(tmp_path / "store"), lambda *_: None)
    assert not prepared.labelled
    assert prepared.images.shape == (len(data.examples()), 32, 32, 3)
    (folder / "masks").mkdir()
    with pytest.raises(UserError, match=r"classes.txt is missing; expected images"):
        _ = Folder(folder, "photos").schemes
