import os
import shutil

import pytest

from segsweep.data import manifest
from segsweep.data.cats_dogs import CatsDogs
from segsweep.data.folder import Folder
from segsweep.data.manifest import content_digest, file_hashes, hash_file
from segsweep.data.scenes import Generated
from segsweep.errors import UserError
from segsweep.store.folder import FolderStore


@pytest.fixture
def reads(monkeypatch):
    """The names of the files whose contents were read."""
    names: list[str] = []
    original = manifest.hash_file

    def counting(path):
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(manifest, "hash_file", counting)
    return names


@pytest.fixture
def identity(tmp_path, quiet):
    """Return the digest of a folder's contents, as in a new process."""
    return lambda folder, name="mine": content_digest(Folder(folder, name), "all", FolderStore(tmp_path / "store"), quiet)


def test_an_untouched_set_is_read_once(layouts, identity, reads):
    """The second call reads no file's contents."""
    folder = layouts.plain()
    first = identity(folder)
    assert len(reads) == 13
    reads.clear()
    assert identity(folder) == first
    assert reads == []


def test_only_a_touched_file_is_read_again(layouts, identity, reads):
    """Only a file with a new time is read again; with equal contents, the digest is equal."""
    folder = layouts.plain()
    first = identity(folder)
    reads.clear()
    os.utime(folder / "images" / "p3.jpg", (1, 1))
    assert identity(folder) == first
    assert reads == ["p3.jpg"]


def test_a_change_that_keeps_size_and_time_is_detected(layouts, identity):
    """Other contents with the same size and modification time, as a copying tool may leave them, are detected."""
    folder = layouts.plain()
    first = identity(folder)
    path = folder / "masks" / "p0.png"
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert identity(folder) != first


def test_the_digest_does_not_depend_on_the_place_or_the_name(layouts, identity, tmp_path):
    """Equal files in another folder, under another name of the dataset, are the same data."""
    folder = layouts.plain()
    first = identity(folder)
    shutil.copytree(folder, tmp_path / "deep" / "copy")
    assert identity(tmp_path / "deep" / "copy", "other") == first
    folder.rename(tmp_path / "moved")
    assert identity(tmp_path / "moved") == first


def test_renaming_and_adding_change_the_digest(layouts, identity):
    """A renamed pair, an added pair and a new list each make other data, although no file's contents changed."""
    folder = layouts.plain()
    found = [identity(folder)]
    for part, ending in (("images", "jpg"), ("masks", "png")):
        (folder / part / f"p5.{ending}").rename(folder / part / f"q5.{ending}")
    found.append(identity(folder))
    for part, ending in (("images", "jpg"), ("masks", "png")):
        shutil.copy(folder / part / f"q5.{ending}", folder / part / f"q6.{ending}")
    found.append(identity(folder))
    (folder / "train.txt").write_text("p0\np1\np2\n")
    found.append(identity(folder))
    assert len(set(found)) == 4


def test_an_unlisted_image_changes_nothing(layouts, identity):
    """An image that no list names does not change the digest."""
    folder = layouts.plain(train="p0\np1\n")
    first = identity(folder)
    layouts.image(folder / "images" / "p5.jpg", seed=99)
    assert identity(folder) == first


def test_the_reader_is_part_of_the_digest(tmp_path, quiet, monkeypatch):
    """Another version of a reader, or another dataset without files, has another digest."""
    pets = Generated("generated_pets")
    found = [content_digest(pets, "foreground", FolderStore(tmp_path), quiet)]
    found.append(content_digest(Generated("generated_far"), "lesion", FolderStore(tmp_path), quiet))
    monkeypatch.setattr(Generated, "revision", lambda _: "2")
    found.append(content_digest(pets, "foreground", FolderStore(tmp_path), quiet))
    assert len(set(found)) == 3


def test_missing_files_are_named_and_counted(layouts, identity):
    """Images without masks raise one line that names the first and counts the others."""
    folder = layouts.plain()
    (folder / "masks" / "p1.png").unlink()
    with pytest.raises(UserError, match=r"images/p1\.jpg: has no mask; expected .*masks/p1\.png, with class numbers$"):
        identity(folder)
    (folder / "masks" / "p4.png").unlink()
    with pytest.raises(UserError, match=r"images/p1\.jpg: has no mask, nor have 1 more; expected .*masks/p1\.png"):
        identity(folder)


def test_a_folder_in_place_of_a_file_is_named(layouts, identity):
    """A folder that is called like a file of the dataset raises one line that names it."""
    folder = layouts.plain()
    (folder / "masks" / "p1.png").unlink()
    (folder / "masks" / "p1.png").mkdir()
    with pytest.raises(UserError, match=r"images/p1\.jpg: has no mask; expected .*masks/p1\.png"):
        identity(folder)
    folder = layouts.voc() / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000001.jpg"
    folder.unlink()
    folder.mkdir()
    with pytest.raises(UserError, match=r"2007_000001\.jpg: file cannot be read: Is a directory"):
        hash_file(folder)


@pytest.mark.parametrize("content", ["", "{", "null", "[1]", '{"a": 1'])
def test_a_broken_cache_is_rebuilt(layouts, tmp_path, quiet, content):
    """A cache file that cannot be read only causes another reading of the files."""
    files = Folder(layouts.plain(), "mine").files()
    first = file_hashes(files, FolderStore(tmp_path).text("cache.json"), quiet)
    (tmp_path / "cache.json").write_text(content)
    assert file_hashes(files, FolderStore(tmp_path).text("cache.json"), quiet) == first


def test_progress_counts_the_files_that_are_read(layouts, tmp_path):
    """Progress reports the number of files read and their total, and nothing if none is read."""
    calls = []
    files = Folder(layouts.plain(), "mine").files()
    file_hashes(files, FolderStore(tmp_path).text("cache.json"), lambda *what: calls.append(what))
    assert calls[-1] == ("reading file contents", 13, 13)
    calls.clear()
    file_hashes(files, FolderStore(tmp_path).text("cache.json"), lambda *what: calls.append(what))
    assert calls == []


def test_a_name_that_is_no_utf8_is_refused_in_every_layout(layouts, tmp_path, quiet):
    """A file of an official layout whose name is not UTF-8 raises one line that shows its bytes."""
    folder = layouts.cats_dogs()
    image = folder / "train" / "cats" / "cat.0.jpg"
    image.rename(image.with_name(b"caf\xe9.jpg".decode(errors="surrogateescape")))
    with pytest.raises(UserError, match=r"caf\\xe9\.jpg: the name is not UTF-8; rename it"):
        content_digest(CatsDogs(folder), "unlabelled", FolderStore(tmp_path / "store"), quiet)
