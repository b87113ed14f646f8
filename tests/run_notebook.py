"""Run a notebook's code in this process, without a kernel, and describe what it shows."""

import ast
import json
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Image, Markdown
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ANALYSIS = Path(__file__).parents[1] / "analysis"
Notebook = dict[str, Any]


def notebook_names() -> set[str]:
    return {path.stem for path in ANALYSIS.glob("*.ipynb")}


def notebook(name: str) -> Notebook:
    return dict(json.loads((ANALYSIS / f"{name}.ipynb").read_text(encoding="utf-8")))


def code_of(name: str) -> list[str]:
    """Return the code cells of a notebook, without IPython's magic lines."""
    cells = ["".join(cell["source"]) for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    return ["\n".join(line for line in code.split("\n") if not line.startswith("%")) for code in cells]


def shows(code: str) -> bool:
    """Return whether a cell ends in an expression, whose value a notebook shows."""
    return isinstance(ast.parse(code).body[-1], ast.Expr)


def run_notebook(name: str, study: str | None = None) -> list[object]:
    """Run a notebook on a study, by default the one that it names itself, and return what it shows, in order."""
    shown: list[object] = []
    space: dict[str, Any] = {"display": shown.append}
    for code in code_of(name):
        opens = study is not None and "\nSTUDY = " in code
        body = ast.parse(f"STUDY = {study!r}\nSTUDY_NAME = None" if opens else code).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), name, "exec"), space)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), name, "eval"), space))
    return [each for each in shown if each is not None]


def figures(shown: list[object]) -> list[Figure]:
    return [each for each in shown if isinstance(each, Figure)]


def sentences(shown: list[object]) -> list[str]:
    return [str(each.data) for each in shown if isinstance(each, Markdown)]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for each in figure.legends for text in each.get_texts()]


def rows(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title() or ax.get_title(loc="left") for ax in figure.axes if ax.axison]


def described(shown: list[object]) -> list[object]:
    """Return what a notebook shows as plain values that can be compared: tables, sentences, and what figures draw.

    The sheet of predictions, or the sentence in its place, is left out: only the study's folder has it.
    """
    plain = [_described(each) for each in shown if not isinstance(each, Image)]
    return [each for each in plain if "predictions.png" not in str(each)]


def _described(each: object) -> object:
    if isinstance(each, Figure):
        return [_panel(ax) for ax in each.axes] + legend(each)
    return each.to_csv() if isinstance(each, pd.DataFrame) else str(getattr(each, "data", each))


def _panel(ax: Any) -> list[object]:
    lines = [(line.get_color(), line.get_fillstyle(), line.get_xydata().round(12).tolist()) for line in ax.get_lines()]
    areas = [path.vertices.round(12).tolist() for each in ax.collections for path in each.get_paths()]
    texts = [text.get_text() for text in (*ax.texts, *ax.get_yticklabels(), ax.xaxis.label, ax.yaxis.label)]
    return [ax.get_title(), ax.get_title(loc="left"), str(lines), str(areas), texts]
