"""Colours of classes on the page, which readers with any colour vision can tell apart.

Each colour was chosen from a grid of sRGB colours to be farthest from all before it, in CIELAB, in the smallest of three views:
normal vision, and protanopia and deuteranopia as simulated by Machado et al. 2009, https://doi.org/10.1109/TVCG.2009.113.
The distance is 33 or more among the first 8 and 15 or more among all 20.
"""

RGB = tuple[int, int, int]

CLASS_COLOURS = (
    *("#e69f00", "#0000ff", "#99ddff", "#773333", "#005599", "#99ffbb", "#995500", "#0077ff", "#bb7799", "#99ff77"),
    *("#5599dd", "#33bb77", "#ff5555", "#3333bb", "#bbff00", "#773355", "#00ffdd", "#773300", "#0055ff", "#bb7700"),
)
MISSED, FALSE, CONFUSED = "#56b4e9", "#d55e00", "#f0e442"  # errors, by Okabe and Ito's palette
IGNORED = "#808080"


def class_colours(classes: int, background: int | None) -> list[str | None]:
    """Return a colour per class number: None for the background, then those of the list; after 20 classes they repeat."""
    others = [number for number in range(classes) if number != background]
    colours: list[str | None] = [None] * classes
    for place, number in enumerate(others):
        colours[number] = CLASS_COLOURS[place % len(CLASS_COLOURS)]
    return colours


def rgb(colour: str) -> RGB:
    """Return the red, green and blue (0..255) of a colour like "#e69f00"."""
    return (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))
