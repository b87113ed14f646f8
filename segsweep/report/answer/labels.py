"""Short names of levels and cells for a reader: what distinguishes them, in words."""

from collections.abc import Mapping, Sequence

from segsweep.report.answer.matching import Design
from segsweep.report.cells import follows_source

RANDOM = "random weights"
WORDLESS = ("source", "architecture")  # axes whose levels are clear without the axis's name
ALL_IMAGES = "all training images"
NOTHING = "none"  # level of an axis that follows the source, in a cell without a trained source
FREEZE = {"none": "nothing frozen", "encoder": "encoder frozen"}


def cell_labels(design: Design, levels: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return a label for every cell: its levels on the axes that vary. If none varies, the level on the first axis.

    What follows the source is left out where the cell has none of it, as with random weights. `levels` are the labels of the
    levels of each axis.
    """
    axes = design.varied or design.axes[:1]
    labels = {
        cell: ", ".join(levels[axis][own[axis]] for axis in axes if own[axis] != NOTHING or not follows_source(axis))
        for cell, own in design.cells.items()
    }
    if len(set(labels.values())) == len(labels):
        return labels
    return {cell: ", ".join(levels[axis][own[axis]] for axis in axes) for cell, own in design.cells.items()}


def level_labels(design: Design, axis: str) -> dict[str, str]:
    """Return the label of every level of a compared axis, by its text."""
    texts = design.levels[axis]
    if axis == "source":
        return _source_labels(texts)
    if axis in WORDLESS:
        return {text: text for text in texts}
    if axis == "fraction":
        return {text: ALL_IMAGES if text in ("none", "1") else f"fraction {text}" for text in texts}
    if axis == "freeze":
        return {text: FREEZE.get(text, f"{text} frozen") for text in texts}
    return {text: f"{axis.replace('_', ' ')} {text}" for text in texts}


def _source_labels(texts: Sequence[str]) -> dict[str, str]:
    """Return names of sources without what all trained ones have in common, such as `supervised:` and `@240`."""
    trained = [text for text in texts if ":" in text]
    kinds, sizes = {text.partition(":")[0] for text in trained}, {text.partition("@")[2] for text in trained}
    kind = f"{kinds.pop()}:" if len(kinds) == 1 else ""
    size = f"@{sizes.pop()}" if len(sizes) == 1 else ""
    names = {text: text.removeprefix(kind).removesuffix(size) for text in trained}
    return {text: RANDOM if text == "random" else names.get(text, text) for text in texts}
