"""Logarithmic axes with plain numbers as labels: losses, learning rates, numbers of images."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

FEW_DECADES = 1000  # largest ratio of values for which a logarithmic axis has room for labels between powers of ten


def scale_losses(ax: "Axes") -> None:
    """Make the vertical axis logarithmic, with plain numbers as labels, if the drawn losses span a factor of ten or more.

    The values of all axes that share the vertical axis count.
    """
    lows, highs = zip(*(each.dataLim.intervaly for each in ax.get_shared_y_axes().get_siblings(ax)), strict=True)
    if 0 < min(lows) <= max(highs) / 10:
        ax.set_yscale("log")
        _name_plainly(ax.yaxis)


def scale_rates(ax: "Axes") -> None:
    """Make the horizontal axis logarithmic, with plain numbers as labels that do not overlap."""
    ax.set_xscale("log")
    _name_plainly(ax.xaxis)


def scale_images(ax: "Axes", counts: Iterable[float]) -> None:
    """Make the horizontal axis logarithmic, with the numbers of images as labels: each doubling has the same width."""
    from matplotlib.ticker import NullLocator

    ax.set_xscale("log", base=2)
    ax.xaxis.set_minor_locator(NullLocator())
    ticks = sorted(set(counts))
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _name_plainly(axis: "Axis") -> None:
    """Label a logarithmic axis with plain numbers: powers of ten, and numbers between them if it spans few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_data_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < FEW_DECADES * low else (1,)))
    axis.set_major_formatter("{x:.3g}")
    axis.set_minor_formatter(NullFormatter())
