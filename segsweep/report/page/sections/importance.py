"""The section on what matters: the share of the differences between cells that each axis explains."""

from segsweep.report.answer.importance import Effect, Importance
from segsweep.report.answer.worth import importance_of
from segsweep.report.page.document import Section
from segsweep.report.page.markup import element, markup
from segsweep.report.page.shares import Share, Shares, shares_figure
from segsweep.report.page.study_view import StudyView

SMALL = 0.005  # effects of several axes with less are left out
CAPTION = (
    "Shares of the squared differences between cells, without chance. Hatched: what seeds and test images explain of all "
    "observed squares; the other bars divide the rest. Numbers: from the lowest level to the highest, averaged over all other "
    "axes, with a 95 % interval for all pairs of levels together: these are the numbers to cite."
)


def importance_section(view: StudyView) -> Section | None:
    """Return the chart; None if seeds or axes are too few, or only one axis varies."""
    found = importance_of(view.answer) if len(view.answer.design.varied) > 1 else None
    if found is None:
        return None
    effects = [_share(view, effect) for effect in found.effects if len(effect.axes) == 1 or effect.share >= SMALL]
    shares = (*effects, Share("chance", found.chance, is_noise=True))
    chart = Shares("What matters", f"points of {view.measure}", shares)
    note = element("p", _left_out(view, found)) if found.grid.left_out else None
    return Section("matters", "What matters", markup(note, shares_figure(chart, CAPTION)))


def _share(view: StudyView, effect: Effect) -> Share:
    name = " × ".join(axis.replace("_", " ") for axis in effect.axes) or "three axes or more"
    if effect.largest is None:
        return Share(name, effect.share)
    largest, (axis,) = effect.largest, effect.axes
    low, high = (view.answer.level(axis, level) for level in (largest.low, largest.high))
    ends = (100 * (largest.estimate - largest.half), 100 * (largest.estimate + largest.half))
    return Share(name, effect.share, 100 * largest.estimate, ends, levels=f"{low} to {high}")


def _left_out(view: StudyView, found: Importance) -> str:
    lost = [view.answer.level(axis, level) for axis, levels in found.grid.left_out.items() for level in levels]
    return f"From the {found.grid.cells.size} cells of the largest complete grid; it leaves out {', '.join(lost)}."
