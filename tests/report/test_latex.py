"""The table of a study in LaTeX."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest
from drawn_study import Drawn
from recorded_study import recorded

from segsweep.records import Records
from segsweep.report.answer.answer import answer_of
from segsweep.report.latex import escaped, latex_table


@pytest.fixture(scope="module")
def records() -> Records:
    """A drawn study of four cells with two seeds."""
    compare = {"source": ["random", "near"], "freeze": ["none", "encoder"]}
    return recorded(Drawn(compare, {"source=near freeze=none": 0.6}, seeds=2, images=8))


def rows_of(table: str) -> list[list[str]]:
    """Return the entries of the rows between the rules; every row must have one entry per column."""
    body = table.split("\\midrule\n")[1].split("\\bottomrule")[0]
    rows = [line.removesuffix(" \\\\").split(" & ") for line in body.splitlines()]
    (columns,) = re.findall(r"\\begin{tabular}{([lr]+)}", table)
    assert {len(row) for row in rows} == {len(columns)}
    return rows


def test_every_cell_has_a_row_with_its_score(records: Records) -> None:
    """The table has the axes that vary, the score with its interval, the chosen rate and the finished seeds of every cell."""
    answer = answer_of(records)
    rows = rows_of(latex_table(records, answer))
    assert len(rows) == len(answer.cells)
    for row, cell in zip(rows, answer.cells, strict=True):
        low, high = cell.interval
        best = cell.beaten_by is None and answer.decides
        score = f"{100 * cell.estimate:.1f}"
        assert row[2] == (rf"\textbf{{{score}}}" if best else score)
        assert row[3] == f"[{100 * low:.1f}, {100 * high:.1f}]"
        assert row[-1] == "2/2"
    assert any(cell.beaten_by is None for cell in answer.cells)


def test_without_a_verdict_nothing_is_bold(records: Records) -> None:
    """Where the seeds decide nothing, no score is bold, and the comment above the table does not speak of a best set."""
    answer = replace(answer_of(records), decides=False)
    table = latex_table(records, answer)
    assert "textbf" not in table
    assert "best set" not in table.split(r"\begin")[0].splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_b & 50 % of $x$ #1 {y}", r"a\_b \& 50 \% of \$x\$ \#1 \{y\}"),
        (r"\input{x}~^", r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}"),
        ("<a|b>\n\\\\", r"\textless{}a\textbar{}b\textgreater{} \textbackslash{}\textbackslash{}"),
    ],
)
def test_names_are_escaped(name: str, expected: str) -> None:
    """Signs with a meaning in LaTeX are printed as they are, and a name stays in one line."""
    assert escaped(name) == expected


def test_a_hostile_name_adds_no_row_and_no_command(records: Records) -> None:
    """A source named like commands and rows changes nothing but its own entry; a comment stays a comment."""
    hostile = "[2cm] \\\\ \\input{/etc/passwd} & 1\n\\end{document}"
    trials = records.trials.assign(source=records.trials["source"].replace({"random": hostile}))
    compare = [{**grid, "source": [hostile, *grid["source"][1:]]} for grid in records.study["compare"]]
    changed = replace(records, trials=trials, study={**records.study, "compare": compare})
    table = latex_table(changed, answer_of(changed))
    rows = rows_of(table.replace(r" \& ", " and "))
    assert len(rows) == len(records.study["cells"])
    assert any(row[0].startswith("{}[2cm]") for row in rows)
    commands = [line for line in table.splitlines() if line.startswith("\\")]
    assert [line.split("{")[0] for line in commands] == ["\\begin", "\\toprule", "\\midrule", "\\bottomrule", "\\end"]
    assert "\\input{" not in "".join(line for line in table.splitlines() if not line.startswith("%"))


@pytest.mark.skipif(which("pdflatex") is None, reason="needs pdflatex with booktabs")
@pytest.mark.parametrize("name", ["near", "a_b & 50 % of $x$ #1 {y}", r"\input{x}~^<a|b>", "größer"])
def test_latex_compiles_the_table(tmp_path: Path, name: str) -> None:
    """pdflatex accepts the table with the packages that its comment names, also with names that LaTeX would read as commands."""
    records = recorded(Drawn({"source": ["random", name], "freeze": ["none", "encoder"]}, seeds=2, images=8))
    (tmp_path / "table.tex").write_text(latex_table(records, answer_of(records)), encoding="utf-8")
    packages = r"\usepackage{booktabs}\usepackage[T1]{fontenc}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{table.tex}}\end{{document}}"
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, encoding="latin-1", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
