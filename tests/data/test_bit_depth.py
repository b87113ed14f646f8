"""16-bit images become 8 bits by one range for the whole dataset, for sensors of any depth."""

import json
import shutil
import struct
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsweep.cli.datasets import data_facts
from segsweep.data.bit_depth import DEPTHS, depth_of, eight_bits, largest, range_remarks
from segsweep.data.folder import Folder
from segsweep.data.image_files import ORIENTATION, open_image, open_levels
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.data.prepared import Prepared
from segsweep.errors import UserError
from segsweep.store.contents import DATA
from segsweep.store.folder import FolderStore

PX = 16
RNG = np.random.default_rng(0)
GREYS = [RNG.integers(0, top, (20, 24)).astype(np.uint16) for top in (200, 40, 120, 256, 90, 10)]  # 8-bit values


def written(folder: Path, images: list[np.ndarray], form: str = "png") -> Path:
    """Write images and masks of two classes in the layout of `folder:PATH`."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("ground\nthing\n")
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{number}.{form}")
        Image.fromarray((np.arange(480).reshape(20, 24) % 2).astype(np.uint8)).save(folder / "masks" / f"{number}.png")
    return folder


def prepared(folder: Path, store: FolderStore, quiet) -> Prepared:
    return prepare(DataSpec(Folder(folder, "mine"), None, PX), store, quiet)


def tiff_of_16_bit_colours(levels: np.ndarray, big: bool = False, deflated: bool = False) -> bytes:
    """Return the bytes of a TIFF with 16 bits per colour, in either byte order, which Pillow reads but cannot write."""
    height, width, _ = levels.shape
    order = ">" if big else "<"
    bits_at, data_at = 8, 14
    data = levels.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if deflated else data
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, bits_at), (259, 3, 1, 8 if deflated else 1), (262, 3, 1, 2),
        (273, 4, 1, data_at), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data)),
    ]  # fmt: skip
    entries = [struct.pack(f"{order}HHI", *tag[:3]) + _value(order, tag) for tag in tags]
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(entries) + struct.pack(f"{order}I", 0)
    start = struct.pack(f"{order}2sHI", b"MM" if big else b"II", 42, data_at + len(data))
    return start + struct.pack(f"{order}HHH", 16, 16, 16) + data + directory


def _value(order: str, tag: tuple[int, int, int, int]) -> bytes:
    """Return the value of a TIFF tag in four bytes; a short value comes first in them."""
    _, kind, count, value = tag
    return struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value)


def png_of_16_bits(levels: np.ndarray, orientation: int = 1) -> bytes:
    """Return the bytes of a 16-bit PNG, grey with transparency or in colours, with an EXIF orientation."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = levels.shape
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    filtered = levels.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    filtered[:, 2 * channels :] -= filtered[:, : -2 * channels].copy()  # filter 1: what differs from the pixel to the left
    rows = b"".join(b"\1" + (row % 256).astype(np.uint8).tobytes() for row in filtered)
    kind = {2: 4, 3: 2, 4: 6}[channels]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    more = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("value", "bits"), [(1, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14)])
def test_the_fewest_bits_that_hold_a_value(value, bits):
    """The range is that of the fewest bits that hold the largest value; 16 bits hold all values."""
    assert depth_of(value) == bits
    assert (depth_of(16383), depth_of(16384), depth_of(65535)) == (14, 16, 16)


@pytest.mark.parametrize("bits", DEPTHS)
def test_a_range_becomes_0_to_255(bits):
    """0 stays 0, the range's white becomes 255, equal steps stay equal, and values above the range become 255."""
    values = np.array([0, 1, 2 ** (bits - 1), 2**bits - 1, 65535], np.uint16)
    assert eight_bits(values, bits).tolist() == [min(255, int(value) * 256 // 2**bits) for value in values.tolist()]
    assert eight_bits(values, bits).dtype == np.uint8
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(eight_bits(levels, bits), levels)
    assert (largest(levels), largest(values), largest(np.zeros(2, np.uint16))) == (0, 65535, 1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("form", ["png", "tif"])
def test_images_of_a_sensor_are_as_bright_as_in_8_bits(tmp_path, store, quiet, bits, form):
    """16-bit files with a sensor's range give the same arrays as its 8-bit images, and the range is recorded."""
    noise = [RNG.integers(0, 2 ** (bits - 8), grey.shape).astype(np.uint16) for grey in GREYS]
    deep = written(tmp_path / "deep", [(grey << (bits - 8)) + low for grey, low in zip(GREYS, noise, strict=True)], form)
    plain = written(tmp_path / "plain", [grey.astype(np.uint8) for grey in GREYS])
    found, expected = prepared(deep, store, quiet), prepared(plain, store, quiet)
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.moments, expected.moments)
    assert (found.bits, expected.bits) == (bits, None)
    assert found.largest // 2 ** (bits - 8) == 255
    artifact = store.find(DATA, prepared_key(DataSpec(Folder(deep, "mine"), None, PX), store, quiet))
    assert artifact is not None
    assert artifact.metadata["bits"] == bits
    assert (data_facts(found)["bits"], data_facts(expected)["bits"]) == (bits, None)
    assert bool(range_remarks(found)) == (bits < 16)
    assert range_remarks(expected) == []


@pytest.mark.parametrize("brightest", range(6))
def test_the_range_does_not_depend_on_the_order(tmp_path, store, quiet, brightest):
    """Wherever the brightest image stands, all images are scaled equally: dark images stay dark."""
    images = [(grey.astype(np.uint16) % 64) for grey in GREYS]  # each alone would be read as 8 bits
    images[brightest] = np.full((20, 24), 4095, np.uint16)
    found = prepared(written(tmp_path / "deep", images), store, quiet)
    assert (found.bits, found.largest) == (12, 4095)
    dark = np.delete(np.arange(6), brightest)
    assert found.images[dark].max() <= 63 // 16
    assert (found.images[brightest] == 255).all()
    (line,) = range_remarks(found)
    assert line.startswith("16-bit images reach 4095 at most, so all are read as images of 12 bits, in which 4095 is white")


def test_8_bit_images_among_others_are_unchanged(tmp_path, store, quiet):
    """In a dataset of both kinds, 8-bit images are used unchanged."""
    images = [GREYS[0].astype(np.uint8), np.full((20, 24), 1023, np.uint16), GREYS[3].astype(np.uint8)]
    found = prepared(written(tmp_path / "both", images), store, quiet)
    alone = prepared(written(tmp_path / "plain", [images[0], images[2]]), store, quiet)
    assert np.array_equal(found.images[[0, 2]], alone.images)
    assert found.bits == 10


@dataclass(frozen=True)
class Interrupted(Folder):
    """A folder whose reader records the images that it reads, and stops before one of them."""

    before: str = ""
    seen: list[str] = field(default_factory=list, compare=False)

    def read(self, example, scheme):
        """Record and read an image; raise at the image `before`."""
        if example.name == self.before:
            raise KeyboardInterrupt
        self.seen.append(example.name)
        return super().read(example, scheme)


def test_a_range_that_was_found_late_survives_an_interruption(tmp_path, store, quiet, monkeypatch):
    """If a process ends after decoding dark images, the next one decodes them again by the final range."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    images = [grey % 64 for grey in GREYS[:5]] + [np.full((20, 24), 4095, np.uint16)]
    folder = written(tmp_path / "deep", images)
    first = Interrupted(folder, "mine", before="5")
    with pytest.raises(KeyboardInterrupt):
        prepare(DataSpec(first, None, PX), store, quiet)
    assert first.seen == ["0", "1", "2", "3", "4"]
    second = Interrupted(folder, "mine")
    found = prepare(DataSpec(replace(second, seen=second.seen), None, PX), store, quiet)
    whole = prepare(DataSpec(Folder(folder, "mine"), None, PX), FolderStore(tmp_path / "other"), quiet)
    assert np.array_equal(found.images, whole.images)
    assert np.array_equal(found.moments, whole.moments)
    assert (found.bits, found.largest) == (12, 4095)
    shutil.rmtree(tmp_path / "other")


@dataclass(frozen=True)
class Scanner(Folder):
    """A user's dataset that returns 16-bit arrays."""

    def read(self, example, scheme):
        """Return the image times 4, as a sensor of 10 bits has it."""
        image, mask = super().read(example, scheme)
        return image.astype(np.uint16) * 4, mask


@dataclass(frozen=True)
class Floats(Folder):
    """A user's dataset that returns floats."""

    def read(self, example, scheme):
        """Return the image in 0..1."""
        image, mask = super().read(example, scheme)
        return image / 255, mask


def test_a_users_dataset_may_return_16_bits(tmp_path, store, quiet):
    """A user's reader that returns uint16 is scaled like files; other types are refused by name."""
    folder = written(tmp_path / "plain", [grey.astype(np.uint8) for grey in GREYS])
    found = prepare(DataSpec(Scanner(folder, "mine"), None, PX), store, quiet)
    plain = prepared(folder, FolderStore(tmp_path / "plain_store"), quiet)
    assert np.array_equal(found.images, plain.images)
    assert (found.bits, plain.bits) == (10, None)
    with pytest.raises(UserError, match=r"image is float64 \(20, 24, 3\); must be uint8 or uint16 \(H, W, 3\)"):
        prepare(DataSpec(Floats(folder, "mine"), None, PX), FolderStore(tmp_path / "third_store"), quiet)


def test_colours_of_16_bits_keep_their_bits(tmp_path):
    """16-bit colour PNGs and TIFFs are read completely, a transparent PNG without its transparency, a rotated one upright."""
    levels = RNG.integers(0, 4096, (3, 4, 3)).astype(np.uint16)
    for big in (False, True):
        (tmp_path / "p.tif").write_bytes(tiff_of_16_bit_colours(levels, big))
        assert open_levels(tmp_path / "p.tif").dtype == np.uint16
        assert np.array_equal(open_levels(tmp_path / "p.tif"), levels)
    (tmp_path / "p.png").write_bytes(png_of_16_bits(levels))
    assert np.array_equal(open_levels(tmp_path / "p.png"), levels)
    assert np.array_equal(open_image(tmp_path / "p.png", bits=12), levels // 16)
    clear = np.concatenate([levels, np.full((3, 4, 1), 1000, np.uint16)], axis=2)
    (tmp_path / "clear.png").write_bytes(png_of_16_bits(clear))
    assert np.array_equal(open_levels(tmp_path / "clear.png"), levels)
    (tmp_path / "turned.png").write_bytes(png_of_16_bits(levels, orientation=6))
    assert np.array_equal(open_levels(tmp_path / "turned.png"), levels[::-1].transpose(1, 0, 2))
    assert np.array_equal(open_levels(tmp_path / "turned.png", as_shown=False), levels)


def test_a_compressed_tiff_of_16_bit_colours_keeps_its_bits(tmp_path):
    """A file that libtiff decodes, in native byte order, is read completely as well."""
    levels = RNG.integers(0, 4096, (3, 4, 3)).astype(np.uint16)
    (tmp_path / "p.tif").write_bytes(tiff_of_16_bit_colours(levels, deflated=True))
    assert np.array_equal(open_levels(tmp_path / "p.tif"), levels)


def test_grey_with_transparency_keeps_its_upper_bits(tmp_path):
    """Of 16-bit grey with transparency, Pillow provides only the upper 8 bits, which are read."""
    levels = RNG.integers(0, 65536, (3, 4, 2)).astype(np.uint16)
    (tmp_path / "p.png").write_bytes(png_of_16_bits(levels))
    assert np.array_equal(open_levels(tmp_path / "p.png")[..., 1], levels[..., 0] // 256 * 256)


def test_32_bit_integers_that_fit_16_bits_are_read(tmp_path):
    """A TIFF of 32-bit integers in 0..65535 is a 16-bit image; with larger values or floats, its white is unknown."""
    values = np.array([[0, 4095], [17, 65535]], np.int32)
    Image.fromarray(values).save(tmp_path / "p.tif")
    assert np.array_equal(open_levels(tmp_path / "p.tif")[..., 2], values)
    for odd in (values + 1, values - 1, values.astype(np.float32)):
        Image.fromarray(odd).save(tmp_path / "p.tif")
        with pytest.raises(
            UserError, match=r"p\.tif: image has mode [IF], 32 bits without a known value of white; .* by the same factor$"
        ):
            open_levels(tmp_path / "p.tif")


def test_copies_are_found_before_they_lose_bits(tmp_path, store, quiet):
    """Images that differ only in their lower bits are different; a PNG and a TIFF with equal values are identical."""
    low = GREYS[0] << 4
    folder = written(tmp_path / "deep", [low, low + 1, np.full((20, 24), 65535, np.uint16)])
    Image.fromarray(low).save(folder / "images" / "3.tif")
    shutil.copy(folder / "masks" / "0.png", folder / "masks" / "3.png")
    content = prepared(folder, store, quiet).content
    assert content[0] == content[3] != content[1]


def test_a_run_and_a_prediction_use_the_range_of_training(tmp_path, capsys):
    """A model's card holds the range: a 16-bit image and its 8-bit twin give the same mask, and values beyond the range are
    reported.
    """
    import segsweep
    from segsweep.cli.commands import command_line
    from segsweep.config import Study, Target

    folder = written(tmp_path / "deep", [np.tile(grey << 4, (1, 1)) for grey in [*GREYS, *(GREYS[3] // n for n in range(1, 7))]])
    fixed = {"architecture": "unet4", "image_px": 16, "epochs": 1, "batch_size": 4}
    study = Study("deep", Target(f"folder:{folder}"), compare={"source": ["random"]}, fixed=fixed, seeds=1)
    segsweep.run(study, out=tmp_path / "runs", runner="inline", device="cpu", threads=1)
    output = capsys.readouterr().err
    assert "16-bit images reach 4080 at most, so all are read as images of 12 bits" in output
    (index,) = (tmp_path / "store" / "model").glob("*/*.json")
    assert json.loads(index.read_text())["metadata"]["bits"] == 12
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(GREYS[0] << 4).save(photos / "deep.png")
    Image.fromarray(GREYS[0].astype(np.uint8)).save(photos / "plain.png")
    Image.fromarray(GREYS[0] << 8).save(photos / "beyond.png")
    command = ["predict", str(tmp_path / "runs" / "deep"), "--images", str(photos), "--out", str(tmp_path / "out")]
    assert command_line([*command, "--probabilities"]) in (0, None)
    twins = [np.asarray(Image.open(tmp_path / "out" / "probabilities" / f"{name}-thing.png")) for name in ("deep", "plain")]
    assert np.array_equal(*twins)
    output = capsys.readouterr()
    assert "1 images have values above 4095, the white of the 16-bit images that the model was trained on" in output.err
