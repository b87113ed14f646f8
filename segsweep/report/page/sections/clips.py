"""The section with clips: the predictions of cells on validation images while their run trained."""

from itertools import accumulate
from pathlib import Path

from segsweep.report.answer.words import count
from segsweep.report.clips import drawn_clips
from segsweep.report.page.document import Section
from segsweep.report.page.embedded_images import gif_uri
from segsweep.report.page.figure import paragraphs
from segsweep.report.page.markup import Markup, element, markup
from segsweep.report.page.study_view import StudyView

MOST_BYTES = 4_000_000  # of all embedded clips together
NOTE = (
    "Each clip shows the confirmed run with the median test IoU of its cell: predictions on the same validation images before "
    "the first step and after every validation. Clips play when they are opened."
)


def clips_section(view: StudyView) -> Section | None:
    """Return a closed fold per clip, best cells first, up to 4 MB; a line names those left out. None if no clip is drawn."""
    files = drawn_clips(view.records)
    if not files:
        return None
    cells = [cell.cell for cell in view.ranked if cell.cell in files]
    sizes = accumulate(files[cell].stat().st_size for cell in cells)
    embedded = max(1, sum(size <= MOST_BYTES for size in sizes))
    shown, left_out = [_clip(view.label(cell), files[cell]) for cell in cells[:embedded]], cells[embedded:]
    rest = [f"The folder clips/ beside this page has those of {count(len(left_out), 'more cell')}."] if left_out else []
    return Section("clips", "During training", markup(element("p", element("small", NOTE)), shown, paragraphs(rest)))


def _clip(label: str, file: Path) -> Markup:
    text = f"{label}: predictions and truth on validation images, from the start of training to its end"
    return element("details", element("summary", label), element("img", src=gif_uri(file), alt=text, class_="clip"))
