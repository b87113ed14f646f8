import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from segsweep.data.dataset import FITS, IGNORE
from segsweep.data.image_files import ORIENTATION, class_numbers, halved, open_image, open_mask, read_pair, square
from segsweep.errors import UserError

NUMBERS = np.array([[0, 1, 2, 1], [2, 1, 0, 1]], np.uint8)


def grey_png(numbers: np.ndarray, bits: int) -> bytes:
    """Return the bytes of a grey PNG of 1, 2, 4, 8 or 16 bits; Pillow writes only 1, 8 and 16."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = numbers.shape
    rows = b""
    for row in numbers.tolist():
        text = "".join(f"{number:0{bits}b}" for number in row)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_masks_keep_their_numbers(tmp_path, bits):
    """A grey mask is read as the numbers in the file, for any bit depth; none is scaled to 255, which is ignored."""
    numbers = NUMBERS % min(2**bits, 3)
    (tmp_path / "m.png").write_bytes(grey_png(numbers, bits))
    found = open_mask(tmp_path / "m.png")
    assert np.array_equal(found, numbers)
    mapped = class_numbers("m.png", found, {0: 0, 1: 1, 2: 2, 255: IGNORE})
    assert np.array_equal(mapped, numbers)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparency", [None, 0, bytes([0, 128, 255])])
def test_palette_masks_keep_their_numbers(tmp_path, bits, transparency):
    """A palette mask is read as its indices, for any colours, bit depth and transparency."""
    image = Image.fromarray(NUMBERS % min(2**bits, 3))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    options = {} if transparency is None else {"transparency": transparency[: 2**bits] if isinstance(transparency, bytes) else 0}
    image.save(tmp_path / "m.png", bits=bits, **options)
    assert np.array_equal(open_mask(tmp_path / "m.png"), NUMBERS % min(2**bits, 3))


def test_sixteen_bit_masks_beyond_the_classes_are_refused(tmp_path):
    """A 16-bit number does not overflow: 256 is not class 0."""
    (tmp_path / "m.png").write_bytes(grey_png(np.full((2, 4), 256), 16))
    with pytest.raises(UserError, match="mask value 256 is outside the classes; allowed are 0, 1, 255"):
        class_numbers("m.png", open_mask(tmp_path / "m.png"), {0: 0, 1: 1, 255: IGNORE})


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_coloured_masks_are_refused(tmp_path, mode):
    """A mask in colours has no class numbers; the error names its mode and the allowed ones."""
    Image.new(mode, (4, 2)).save(tmp_path / "m.png")
    with pytest.raises(UserError, match=rf"m\.png: mask has mode {mode}; allowed are palette and grey"):
        open_mask(tmp_path / "m.png")


def test_lossy_masks_are_refused(tmp_path):
    """JPEG blurs class numbers into others, so a JPEG is refused as a mask, even with the suffix `.png`."""
    Image.fromarray(NUMBERS).save(tmp_path / "m.png", "JPEG")
    with pytest.raises(UserError, match=r"m\.png: mask is a JPEG"):
        open_mask(tmp_path / "m.png")


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *(("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
        *(("BMP", mode) for mode in ("RGB", "RGBA", "L", "P", "1")),
        *(("TIFF", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK")),
        *(("GIF", mode) for mode in ("RGB", "RGBA", "L", "P", "1")),
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
    ],
)
def test_every_usual_image_becomes_rgb(tmp_path, form, mode):
    """An image of any common mode becomes (H, W, 3) bytes with its colours, without a warning."""
    red = Image.new("RGB", (6, 4), (250, 0, 0))
    image = red.convert("RGB").convert(mode) if mode != "LA" else red.convert("L").convert("LA")
    image.save(tmp_path / "p", form)
    found = open_image(tmp_path / "p")
    assert (found.shape, found.dtype) == ((4, 6, 3), np.uint8)
    if mode in ("RGB", "RGBA", "P", "CMYK"):
        assert found[0, 0, 0] > 200
        assert found[0, 0, 1:].max() < 60


def test_transparency_is_dropped(tmp_path):
    """A transparent pixel shows the colour below it, with an alpha channel as with a transparent palette."""
    Image.new("RGBA", (4, 2), (10, 200, 30, 0)).save(tmp_path / "a.png")
    palette = Image.fromarray(np.zeros((2, 4), np.uint8))
    palette.putpalette([10, 200, 30])
    palette.save(tmp_path / "b.png", transparency=bytes([0]))
    for name in ("a.png", "b.png"):
        assert open_image(tmp_path / name)[0, 0].tolist() == [10, 200, 30]


def test_sixteen_bit_images_are_not_white(tmp_path):
    """A grey 16-bit image is cut to 8 bits: its shades stay distinct, and 0 to 65535 becomes 0 to 255."""
    levels = np.array([[0, 255, 256, 32768], [40000, 65535, 512, 65280]])
    (tmp_path / "p.png").write_bytes(grey_png(levels, 16))
    assert np.array_equal(open_image(tmp_path / "p.png")[..., 1], levels // 256)


def test_images_without_a_known_white_are_refused(tmp_path):
    """A 32-bit image could have any scale, so it is refused by name."""
    Image.fromarray(np.ones((2, 4), np.float32)).save(tmp_path / "p.tif")
    with pytest.raises(UserError, match=r"p\.tif: image has mode F"):
        open_image(tmp_path / "p.tif")


def test_first_frame_of_an_animation(tmp_path):
    """An animation is read as its first frame."""
    frames = [Image.new("RGB", (4, 2), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(tmp_path / "p.gif", save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / "p.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damaged_images_are_named(tmp_path, form):
    """An image that is cut in its first half, or is not an image, raises one line with its name."""
    path = tmp_path / "p.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path, form)
    content = path.read_bytes()
    for length in {0, 1, 8, 30, len(content) // 4, len(content) // 2}:
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"p\.jpg: image cannot be read: ") as raised:
            open_image(path)
        assert "\n" not in str(raised.value)


def test_missing_files_are_named(tmp_path):
    """A missing image or mask is named with its kind; so is a folder in its place."""
    with pytest.raises(UserError, match=r"p\.jpg: image is missing"):
        open_image(tmp_path / "p.jpg")
    with pytest.raises(UserError, match=r"m\.png: mask is missing"):
        open_mask(tmp_path / "m.png")
    with pytest.raises(UserError, match="image cannot be read"):
        open_image(tmp_path)


def test_sizes_must_agree(tmp_path):
    """A mask of another size than its image is refused with both sizes, width first."""
    Image.fromarray(NUMBERS).save(tmp_path / "m.png")
    Image.new("RGB", (2, 4)).save(tmp_path / "p.png")
    with pytest.raises(UserError, match=r"m\.png: mask is 4x2 but its image is 2x4 pixels; they must be equal"):
        read_pair(tmp_path / "p.png", tmp_path / "m.png", {0: 0, 1: 1, 2: 2})


def turned_image(path, orientation: int, form: str = "JPEG") -> np.ndarray:
    """Write an image of (48, 32) with an EXIF orientation, and return its upright form."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)).resize((48, 32))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(path, form, exif=exif)
    stored = np.asarray(Image.fromarray(open_image(path, as_shown=False)))
    shown = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.transpose(1, 0, 2)}
    shown[6], shown[7], shown[8] = shown[4].transpose(1, 0, 2), shown[3].transpose(1, 0, 2), shown[2].transpose(1, 0, 2)
    return shown[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_rotated_images_are_read_upright(tmp_path, orientation, form):
    """An image whose EXIF asks for a rotation or flip is read upright."""
    shown = turned_image(tmp_path / "p", orientation, form)
    assert np.array_equal(open_image(tmp_path / "p"), shown)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_tiff_is_rotated_once(tmp_path, orientation):
    """Pillow rotates a TIFF itself; it is not rotated again."""
    levels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(levels).save(tmp_path / "p.tif", exif=exif)
    expected = levels[::-1, ::-1] if orientation == 3 else levels[::-1].transpose(1, 0, 2)
    assert np.array_equal(open_image(tmp_path / "p.tif"), expected)


def test_the_mask_of_a_rotated_image_is_upright(tmp_path):
    """A mask must have the size of the upright image; a mask of the stored size is refused, and the message names EXIF."""
    shown = turned_image(tmp_path / "p.jpg", 6)
    Image.fromarray(np.ones((48, 32), np.uint8)).save(tmp_path / "m.png")
    image, mask = read_pair(tmp_path / "p.jpg", tmp_path / "m.png", {1: 1})
    assert np.array_equal(image, shown)
    assert mask.shape == (48, 32)
    Image.fromarray(np.ones((32, 48), np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(
        UserError, match=r"m\.png: mask is 48x32 but its image is 32x48 pixels; the image's EXIF asks for a rotation"
    ):
        read_pair(tmp_path / "p.jpg", tmp_path / "m.png", {1: 1})


def test_a_rotated_mask_is_read_upright(tmp_path):
    """A mask with an EXIF rotation is rotated like an image and keeps its numbers."""
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    for mode in ("L", "P"):
        image = Image.fromarray(NUMBERS)
        if mode == "P":
            image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
        image.save(tmp_path / "m.png", exif=exif)
        assert np.array_equal(open_mask(tmp_path / "m.png"), NUMBERS[::-1, ::-1])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_metadata_does_not_rotate(tmp_path):
    """An image with damaged EXIF is read, rotated or not, or is a one-line error: never another error."""
    turned_image(tmp_path / "p.webp", 6, "WEBP")
    good, rng = (tmp_path / "p.webp").read_bytes(), np.random.default_rng(0)
    start, sizes = good.index(b"EXIF"), set()
    for _ in range(150):
        content = bytearray(good)
        content[rng.integers(start + 8, len(good))] = rng.integers(0, 256)
        (tmp_path / "p.webp").write_bytes(content)
        sizes.add(open_image(tmp_path / "p.webp").shape)
    assert sizes == {(48, 32, 3), (32, 48, 3)}


def test_huge_images_are_refused(tmp_path):
    """A file of a few hundred bytes that declares 400 million pixels is refused before decoding, as image or mask."""
    content = bytearray(grey_png(NUMBERS, 8))
    content[16:24] = struct.pack(">II", 20000, 20000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "p.png").write_bytes(content)
    for opened in (open_image, open_mask):
        with pytest.raises(UserError, match=r"p\.png: (image|mask) has 400 megapixels; allowed are at most 178") as raised:
            opened(tmp_path / "p.png")
        assert "\n" not in str(raised.value)


def test_large_images_are_read(tmp_path):
    """An image of 30 million pixels, as in some skin photographs, is read and made square."""
    Image.new("L", (6000, 5000), 77).save(tmp_path / "p.png")
    image, _ = square(open_image(tmp_path / "p.png"), np.empty((0, 0), np.uint8), 16, "nearest")
    assert (image == 77).all()


def test_cmyk_and_sixteen_bit_colours_are_right(tmp_path):
    """CMYK and 16-bit colour images are read with their colours."""
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[:, :4] = (0, 255, 255, 0)  # red ink; the rest is white paper
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "p.tif")
    found = open_image(tmp_path / "p.tif")
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[0, 7].tolist() == [255, 255, 255]
    (tmp_path / "q.png").write_bytes(colour_png_of_16_bits([[65535, 32768, 256], [0, 255, 65280]]))
    assert open_image(tmp_path / "q.png").tolist() == [[[255, 128, 1], [0, 0, 255]]]


def colour_png_of_16_bits(row: list[list[int]]) -> bytes:
    """Return the bytes of a PNG with one row of colours of 16 bits per channel, which Pillow cannot write."""
    data = b"\0" + struct.pack(f">{3 * len(row)}H", *(level for pixel in row for level in pixel))
    header = struct.pack(">IIBBBBB", len(row), 1, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(each)) + kind + each + struct.pack(">I", zlib.crc32(kind + each)) for kind, each in chunks
    )


@pytest.mark.parametrize("name", ["with space.jpg", "chat-noir-é.jpg", "猫.jpg", "-dash;$(x).jpg"])
def test_names_of_all_kinds(tmp_path, name):
    """An image is read whatever characters its name has."""
    Image.new("RGB", (4, 2), (1, 2, 3)).save(tmp_path / name, "PNG")
    assert open_image(tmp_path / name)[0, 0].tolist() == [1, 2, 3]


def test_names_that_differ_only_in_case_are_named(tmp_path):
    """If a file beside a missing file differs only in case, one line names both."""
    Image.new("RGB", (4, 2)).save(tmp_path / "Cat.JPG", "JPEG")
    with pytest.raises(UserError, match=r"cat\.jpg: image is missing; Cat\.JPG beside it differs only in case, rename one"):
        open_image(tmp_path / "cat.jpg")


def test_soft_edges_are_halved():
    """A mask of 0 and 255 with soft edges is cut at 128; other numbers are refused instead of becoming background."""
    assert halved("m.png", np.array([[0, 127], [128, 255]])).tolist() == [[0, 0], [1, 1]]
    assert not halved("m.png", np.zeros((2, 2), np.uint8)).any()
    with pytest.raises(UserError, match=r"m\.png: mask has values from 0 to 37; expected 0 for background and 255"):
        halved("m.png", np.array([[0, 37]]))


def test_foreign_values_are_refused():
    """A value outside the classes is named with the allowed ones, also a negative one and with many classes."""
    with pytest.raises(UserError, match=r"mask value 2 is outside the classes; allowed are 0, 1, 255$"):
        class_numbers("m.png", NUMBERS, {0: 0, 1: 1, 255: IGNORE})
    with pytest.raises(UserError, match=r"mask value -1 is outside"):
        class_numbers("m.png", np.full((2, 4), -1), {0: 0, 1: 1})
    with pytest.raises(UserError, match=r"mask value 99 is outside the classes; allowed are 0\.\.20"):
        class_numbers("m.png", np.full((2, 4), 99), {number: number for number in range(21)})


def halves(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image that brightens to the right, and a mask whose left half is 1 and right half 3."""
    image = np.repeat(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], height, axis=0).repeat(3, axis=2)
    mask = np.full((height, width), 1, np.uint8)
    mask[:, width // 2 :] = 3
    return image, mask


def test_resize_keeps_the_whole_image():
    """`resize` scales both sides separately, so both halves remain, left and right."""
    image, mask = square(*halves(40, 80), 20, "resize")
    assert (image.shape, mask.shape) == ((20, 20, 3), (20, 20))
    assert (mask[:, :10] == 1).all()
    assert (mask[:, 10:] == 3).all()
    assert image[0, 0, 0] < 15 < 240 < image[0, -1, 0]


@pytest.mark.parametrize(("height", "width"), [(40, 80), (80, 40), (41, 79), (37, 111)])
def test_crop_cuts_the_centre_out(height, width):
    """`crop` resizes the short side and cuts out the centre: gradients keep their slope, and the centre stays the centre."""
    image, mask = square(*halves(height, width), 20, "crop")
    assert (image.shape, mask.shape) == ((20, 20, 3), (20, 20))
    middle = (image[10, 9, 0] + 0.0 + image[10, 10, 0]) / 2
    assert abs(middle - 127.5) < 8
    slope = (image[10, 15, 0] - 0.0 - image[10, 5, 0]) / 10
    assert slope == pytest.approx(255 / width * min(height, width) / 20, rel=0.15)
    assert set(np.unique(mask).tolist()) == {1, 3}


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("image_px", [16, 33, 100])
def test_masks_are_never_blended(fit, image_px):
    """A mask of distant values has the same values and no others after either fit, at smaller and larger sizes."""
    mask = np.random.default_rng(0).choice(np.array([0, 7, 255], np.uint8), (37, 53))
    _, small = square(np.zeros((37, 53, 3), np.uint8), mask, image_px, fit)
    assert set(np.unique(small).tolist()) == {0, 7, 255}


@pytest.mark.parametrize("fit", FITS)
def test_square_images_of_the_size_are_unchanged(fit):
    """A square image of the requested size is returned unchanged."""
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    found, mask = square(image, image[..., 0].copy(), 24, fit)
    assert np.array_equal(found, image)
    assert np.array_equal(mask, image[..., 0])


def test_image_and_mask_stay_aligned():
    """An edge in the image and the same edge in the mask are on the same pixel, within one, at many sizes."""
    for width, edge, image_px in ((97, 31, 40), (200, 150, 64), (64, 20, 128)):
        mask = np.zeros((width, width), np.uint8)
        mask[:, edge:] = 1
        image, small = square((mask * 255)[..., None].repeat(3, axis=2), mask, image_px, "resize")
        assert np.abs((image[..., 0] > 127).sum(1) - (small == 1).sum(1).astype(int)).max() <= 1


def test_nearest_picks_pixels_of_the_image():
    """`nearest` gives only colours of the image, each at the position where the mask has its class."""
    colours = np.array([[0, 0, 0], [200, 10, 30], [7, 250, 99]], np.uint8)
    mask = np.random.default_rng(0).integers(0, 3, (37, 53)).astype(np.uint8)
    image, labels = square(colours[mask], mask, 16, "nearest")
    assert np.array_equal(image, colours[labels])
    assert not np.array_equal(image, square(colours[mask], mask, 16, "resize")[0])


def test_a_raw_crop_is_the_unscaled_centre():
    """`raw-crop` cuts without resizing; if an image is too small, its short side is resized first."""
    image = np.random.default_rng(0).integers(0, 256, (21, 40, 3), dtype=np.uint8)
    mask = image[..., 0].copy()
    found, labels = square(image, mask, 16, "raw-crop")
    assert np.array_equal(found, image[2:18, 12:28])
    assert np.array_equal(labels, mask[2:18, 12:28])
    for part, other in zip(square(image, mask, 32, "raw-crop"), square(image, mask, 32, "crop"), strict=True):
        assert np.array_equal(part, other)


@pytest.mark.parametrize("fit", FITS)
def test_images_without_a_mask_are_made_square(fit):
    """Without a mask, the image is the same as with one, and the mask stays empty."""
    image = np.random.default_rng(0).integers(0, 256, (21, 40, 3), dtype=np.uint8)
    found, mask = square(image, np.empty((0, 0), np.uint8), 16, fit)
    assert np.array_equal(found, square(image, image[..., 0].copy(), 16, fit)[0])
    assert mask.shape == (0, 0)


def test_opening_leaves_the_warning_filters_alone(tmp_path):
    """Opening an image does not change the process's warning filters, which threads share."""
    Image.new("RGB", (4, 2)).save(tmp_path / "p.png")
    version = warnings._filters_version if hasattr(warnings, "_filters_version") else None
    before = list(warnings.filters)
    open_image(tmp_path / "p.png")
    assert warnings.filters == before
    assert version is None or warnings._filters_version == version
