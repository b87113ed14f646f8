"""Masks from which no model can learn are refused; classes that disappear are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segsweep.data.folder import Folder
from segsweep.data.mask_checks import check_masks, check_split_masks, mask_remarks
from segsweep.data.prepare import DataSpec, prepare
from segsweep.data.prepared import Prepared
from segsweep.data.splits import PARTS, Split
from segsweep.errors import UserError


@pytest.fixture
def with_masks(tmp_path, store, quiet):
    """Return a function that prepares a folder with these masks."""

    def write(masks: list[np.ndarray], classes=("ground", "thing"), image_px=16, fit=None) -> Prepared:
        folder: Path = tmp_path / "mine"
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True)
        (folder / "classes.txt").write_text("\n".join(classes))
        for number, mask in enumerate(masks):
            image = np.random.default_rng(number).integers(0, 256, (*mask.shape, 3))
            Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number:02d}.png")
            Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{number:02d}.png")
        return prepare(DataSpec(Folder(folder, "mine"), None, image_px, fit), store, quiet)

    return write


def half(value: int, outside: int = 0, px: int = 20) -> np.ndarray:
    mask = np.full((px, px), outside)
    mask[: px // 2] = value
    return mask


@pytest.mark.parametrize(
    ("masks", "classes", "message"),
    [
        ([half(255)] * 3, 2, "masks hold only 0 and 255, and 255 is ignored, so no mask shows 'c1'; write 1 instead of 255"),
        ([half(255), half(0)], 2, "write 1 instead of 255"),
        ([half(255)] * 3, 4, "so no mask shows 'c1'; write 1 instead of 255"),
        ([half(255, 1)] * 3, 2, "masks hold only 1 and 255, .* so no mask shows 'c0'; write 0 instead of 255"),
        ([half(255, 255)] * 2, 2, r"all mask pixels are 255, which is ignored; write the class numbers 0\.\.1"),
        ([half(0)] * 3, 2, r"every mask shows only 'c0' \(0 in all pixels\), so there is nothing to segment"),
        ([half(2, 2)] * 3, 3, r"every mask shows only 'c2' \(2 in all pixels\)"),
    ],
)
def test_masks_of_one_class_are_refused(with_masks, masks, classes, message):
    """Masks of only 0 and 255, only 255 or only one class are refused in one line with the remedy."""
    data = with_masks(masks, [f"c{number}" for number in range(classes)])
    with pytest.raises(UserError, match=message) as caught:
        check_masks(data)
    assert str(caught.value).startswith("dataset 'mine': ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("masks", [[half(1), half(0)], [half(1), half(255)], [half(0), half(1, 1)]])
def test_masks_of_two_classes_are_not_refused(with_masks, masks):
    """Two classes in any images are enough, with or without ignored pixels."""
    check_masks(with_masks(masks))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_fully_ignored_part_is_refused(with_masks, position):
    """Training, validation or test masks of only 255 are refused by name; one valid pixel is enough."""
    members = np.split(np.arange(6), 3)
    masks = [half(255, 255) if number in members[position] else half(1) for number in range(6)]
    data = with_masks(masks)
    message = (
        rf"^dataset 'mine': all pixels of the 2 {PARTS[position]} masks at 16 px are 255, which is ignored; write the class "
        rf"numbers 0\.\.1, or choose another protocol: 0{2 * position}, 0{2 * position + 1}$"
    )
    with pytest.raises(UserError, match=message):
        check_split_masks(data, Split(*members))
    check_split_masks(data, Split(*(np.roll(part, 1) for part in np.split(np.roll(np.arange(6), 1), 3))))


def test_a_part_that_loses_its_classes_has_another_remedy(with_masks):
    """If the original masks show classes that disappear, the message advises a larger size."""
    line = np.full((128, 128), 255)
    line[1] = 1
    with pytest.raises(UserError, match="the 1 val masks at 16 px are 255, which is ignored; use a larger image_px, or"):
        check_split_masks(with_masks([half(1), line, half(1)]), Split(*np.arange(3)[:, None]))


def test_a_class_that_disappears_is_counted(with_masks):
    """Lines of 2 in 128 pixels, at 16 px: the remark counts the originals that show the class and lose all its pixels."""
    masks = [np.zeros((128, 128)) for _ in range(12)]
    for number, mask in enumerate(masks[:10]):
        mask[:, 3 + 11 * number : 5 + 11 * number] = 1
    data = with_masks(masks)
    kept = [bool((np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((16, 16), 0)) == 1).any()) for mask in masks[:10]]
    lost = kept.count(False)
    assert 0 < lost < 10
    (line,) = mask_remarks(data)
    assert line.startswith(f"class 'thing': {lost} of the 10 images that show it lose all its pixels at 16 px")
    assert line.endswith("use a larger image_px")


def test_a_class_that_is_cut_off_has_another_remedy(with_masks):
    """If `crop` cuts a class off, the remark names the fit that cuts nothing off."""
    wide = np.zeros((20, 80))
    wide[:, :10] = 1
    (line,) = mask_remarks(with_masks([wide, half(1)], fit="crop"))
    assert "1 of the 2 images that show it lose all its pixels" in line
    assert "or fit='resize'" in line


def test_a_class_that_disappears_rarely_has_no_remark(with_masks):
    """Fewer than one in twenty of the images that show a class are not worth a remark."""
    dot = np.zeros((128, 128))
    dot[1, 1] = 1
    assert mask_remarks(with_masks([dot, *[half(1)] * 25])) == []


def test_useless_classes_and_masks_are_named(with_masks):
    """A class that no mask shows, fully ignored masks, and masks of only 0 and 255 among others are one line each."""
    masks = [half(1), half(1, 2), half(255, 255), half(255), half(255), half(1)]
    lines = mask_remarks(with_masks(masks, ("ground", "thing", "car", "sign")))
    assert lines == [
        "no mask shows 'sign'; 255 is ignored: if it stands for a class, write the class number",
        "1 of 6 masks are 255 (ignored) everywhere, so they add no loss: 02",
        "2 of 6 masks hold only 0 and 255: 03, 04; 255 is ignored: if it stands for a class, write the class number",
    ]


def test_usual_masks_have_no_remark(with_masks):
    """Masks that show all classes at their size have no remark, with or without an ignored border."""
    bordered = half(1)
    bordered[9:11] = 255
    assert mask_remarks(with_masks([half(1), bordered])) == []
