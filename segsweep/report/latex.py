r"""The table of a study for a paper, in LaTeX with the rules of the package `booktabs`."""

import re
from typing import Any

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer, CellAnswer
from segsweep.report.answer.matching import level_text
from segsweep.report.answer.table import answer_table
from segsweep.report.answer.words import measure_text
from segsweep.report.cells import compared_axes, tuned_axes, varied
from segsweep.report.layout import HEADINGS, number, text

ESCAPED = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\N{MINUS SIGN}": "$-$",
}
OPENING = ("[", "*")  # after the end of a row, LaTeX reads these as arguments of the line break
PACKAGES = r"\usepackage{booktabs}, and \usepackage[T1]{fontenc} for names"


def latex_table(records: Records, answer: Answer) -> str:
    """Return one row per cell as a `tabular`: varied axes, score with its 95 % interval, chosen settings, finished seeds.

    Scores are in points of 100. Those of the cells that may be the best are bold, if the seeds decide it. The answer stands above
    the table as a comment. All names are escaped.
    """
    summary = answer_table(records, answer)
    axes = varied(summary, compared_axes(records)) or compared_axes(records)[:1]
    tuned, cells = tuned_axes(records), {cell.cell: cell for cell in answer.cells}
    headings = [*axes, measure_text(answer), r"95\,\%", *(HEADINGS.get(axis, axis) for axis in tuned), "seeds"]
    shown = [heading if heading.endswith(r"\%") else escaped(heading.replace("_", " ")) for heading in headings]
    rows = [_row(row, axes, tuned, cells[str(row["cell"])], answer) for _, row in summary.iterrows()]
    lines = [
        *(f"% {_one_line(sentence)}" for sentence in answer.sentences),
        f"% Scores in points of 100{', the best set in bold' if answer.decides else ''}. Needs {PACKAGES}.",
        rf"\begin{{tabular}}{{{'l' * len(axes)}{'r' * (len(headings) - len(axes))}}}",
        r"\toprule",
        _line(shown),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def escaped(name: str) -> str:
    """Return a text that LaTeX prints as it is, in one line."""
    return "".join(ESCAPED.get(sign, sign) for sign in _one_line(name))


def _one_line(name: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", name).strip()


def _line(entries: list[str]) -> str:
    """Return a row of the table; `{}` protects a first entry that LaTeX would read as an argument."""
    first = f"{{}}{entries[0]}" if entries[0].startswith(OPENING) else entries[0]
    return rf"{' & '.join([first, *entries[1:]])} \\"


def _row(row: "pd.Series[Any]", axes: list[str], tuned: list[str], cell: CellAnswer, answer: Answer) -> list[str]:
    score = number(cell.estimate)
    best = answer.decides and cell.units and cell.beaten_by is None
    at_edge = str(row["at_edge"]).split(",")
    chosen = [escaped(text(row[axis]) + "*" * (axis in at_edge and bool(text(row[axis])))) for axis in tuned]
    return [
        *(escaped(answer.level(axis, level_text(row[axis]))) for axis in axes),
        rf"\textbf{{{score}}}" if best else score,
        _interval(cell),
        *chosen,
        f"{row['seeds']}/{row['seeds_planned']}",
    ]


def _interval(cell: CellAnswer) -> str:
    low, high = cell.interval
    return "" if pd.isna(cell.half) else f"[{100 * low:.1f}, {100 * high:.1f}]"
