"""Figures of an answer as files for a paper: SVG and PDF."""

from pathlib import Path

from segsweep.errors import UserError
from segsweep.report.answer.answer import Answer
from segsweep.report.figures.differences import differences_figure
from segsweep.report.figures.scores import scores_figure

FORMATS = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # format -> metadata: no dates, so equal figures are equal files
SALT = "segsweep"  # of the ids in SVG
TRUE_TYPE = 42  # fonts in PDF that journals accept


def write_figures(answer: Answer, folder: Path) -> list[Path]:
    """Write the scores of all cells, and the differences of every compared axis, as SVG and PDF; return the files.

    The files are `scores.svg`, `differences-AXIS.svg` and the same as `.pdf`. The folder is made if it is missing. Raises
    `UserError` if matplotlib is not installed, or if there is nothing to draw yet.
    """
    try:
        from matplotlib import rc_context
    except ImportError:
        raise UserError("--figures: matplotlib is not installed; install segsweep[analysis], or use report.html") from None
    with rc_context({"text.parse_math": False, "svg.hashsalt": SALT, "pdf.fonttype": TRUE_TYPE}):  # a $ in a name is no formula
        figures = {
            "scores": scores_figure(answer),
            **{f"differences-{question.axis}": differences_figure(answer, [question]) for question in answer.questions},
        }
        drawn = {name: figure for name, figure in figures.items() if figure is not None}
        if not drawn:
            raise UserError(f"--figures: study {answer.study} has no finished confirmed run yet; run the study first")
        folder.mkdir(parents=True, exist_ok=True)
        files = {folder / f"{name}.{kind}": (figure, kind) for name, figure in drawn.items() for kind in FORMATS}
        for file, (figure, kind) in files.items():
            figure.savefig(file, metadata=FORMATS[kind])
    return list(files)
