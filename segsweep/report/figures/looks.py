"""Colours and markers by name, and the legend below a figure."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# M. A. Petroff, "Accessible color sequences for data visualization", https://arxiv.org/abs/2107.02270
COLOURS = ("#3f90da", "#e76300", "#832db6", "#94a4a2", "#bd1f01", "#b9ac70", "#ffa90e", "#717581", "#a96b59", "#92dadd")
MARKERS = "osD^vP*X<>"
GREY = "#717581"
Style = Mapping[str, Any]  # keyword arguments of `Axes.plot`


def looks(names: Iterable[object]) -> dict[str, Style]:
    """Return a colour and a marker for every name, for use in all figures."""
    return {
        str(name): {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        for number, name in enumerate(dict.fromkeys(names))
    }


def legend_below(figure: "Figure", styles: Mapping[str, Style], further: Iterable["Artist"] = (), columns: int = 3) -> None:
    """Add a legend below a figure: one entry per style, then the `further` ones."""
    from matplotlib.lines import Line2D

    handles = [*(Line2D([], [], **style, label=name) for name, style in styles.items()), *further]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, max(len(handles), 1)))
