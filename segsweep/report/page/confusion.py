"""A confusion matrix as a shaded table."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segsweep.report.page.markup import Markup, element

SHADE = 0.45  # of the mark's colour at 100 %: text on it keeps its contrast
FEW = 8  # classes, above which the table is set small, with upright headings
SHOWN = 0.0005  # smaller shares are left blank


def confusion_table(title: str, classes: Sequence[str], pixels_CC: npt.NDArray[np.float64]) -> Markup:
    """Return the shares (in per cent) of each true class's pixels that were predicted as each class. Rows are true classes."""
    shares = pixels_CC / np.maximum(pixels_CC.sum(axis=1, keepdims=True), 1)
    head = element("tr", element("th", "truth", scope="col"), (element("th", name, scope="col") for name in classes))
    body = [
        element("tr", element("th", name, scope="row"), (_cell(float(share)) for share in row))
        for name, row in zip(classes, shares, strict=True)
    ]
    table = element(
        "table",
        element("caption", title),
        element("thead", head),
        element("tbody", body),
        class_="confusion many" if len(classes) > FEW else "confusion",
    )
    return element("div", table, class_="scroll")


def _cell(share: float) -> Markup:
    text = f"{100 * share:.1f}" if share >= SHOWN else ""
    return element("td", text, class_="n", style=f"--v:{100 * SHADE * share:.0f}%")
