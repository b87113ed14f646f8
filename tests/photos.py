"""Images of several formats, like those in a user's folder."""

from pathlib import Path

import numpy as np
from PIL import Image

ROTATED = 6  # EXIF: the camera was held upright, so viewers rotate the image by 90 degrees
SIZES = {"turned": (50, 70), "clear": (33, 21), "grey": (32, 32)}  # width, height as shown


def figure(width: int, height: int) -> Image.Image:
    """Return a dark image with a bright box, like the training images of the study."""
    pixels = np.random.default_rng(5).integers(0, 110, (height, width, 3)).astype(np.uint8)
    pixels[height // 4 : height // 2, width // 4 : width // 2] += 120
    return Image.fromarray(pixels)


def write_photos(folder: Path) -> Path:
    """Write a rotated JPEG, a PNG with transparency, a grey TIFF, a text, and a subfolder; return the folder."""
    (folder / "below").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    figure(70, 50).save(folder / "turned.JPG", exif=exif, quality=95)
    transparent = figure(33, 21)
    transparent.putalpha(100)
    transparent.save(folder / "clear.png")
    figure(32, 32).convert("L").save(folder / "grey.tif")
    figure(32, 32).save(folder / "below" / "unread.png")
    (folder / "notes.txt").write_text("no picture")
    return folder
