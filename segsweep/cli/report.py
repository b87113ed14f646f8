"""`segsweep report`: print a study's table, and write its report, its page and its clips; or compare studies."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from segsweep.errors import UserError, disk_errors
from segsweep.records.find import find_study
from segsweep.records.reader import load
from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer, answer_of
from segsweep.report.answer.asked import asked_lines
from segsweep.report.answer.two_studies import compare_studies
from segsweep.report.answer.two_studies_text import two_studies_text
from segsweep.report.clips import write_clips
from segsweep.report.figures.files import write_figures
from segsweep.report.latex import latex_table
from segsweep.report.text import table_text
from segsweep.report.write import write_page, write_report

TABLE_FILE, FIGURES = "table.tex", "figures"  # in the study's folder


def report(options: argparse.Namespace, console: Console) -> None:  # noqa: ARG001
    """Print a study's table, and write its report and clips into its folder, also while it runs; one in W&B is only printed.

    Of several studies, the first is compared with each of the others, and nothing is written.
    """
    extra = [f"--{name}" for name in ("latex", "figures") if getattr(options, name)]
    if len(options.studies) > 1:
        if extra:
            raise UserError(f"{extra[0]}: writes files of one study; name only one")
        _compare(options.studies)
        return
    (study,) = options.studies
    records = load(find_study(study))
    if records.trials.empty:
        raise UserError(f"{study}: has no planned trial yet; report it once `segsweep status {study}` counts trials")
    if not 0 <= options.matters < 100:
        raise UserError(f"--matters {options.matters:g}: must be points from 0 to 100")
    answer = answer_of(records, matters=options.matters / 100)
    replies = asked_lines(answer, options.ask) if options.ask else []
    if "store" not in records.study:  # from W&B: there is no folder to write into
        if extra:
            raise UserError(f"{extra[0]}: {study} has no folder to write into; name the study's own folder")
        print("\n".join([table_text(records, answer), "", *replies]))
        return
    store = Path(records.study["store"])
    print("\n".join([write_report(records, store, answer), *([""] if replies else []), *replies]), flush=True)
    for line in write_clips(records, store):
        print(line)
    print(f"\nPage: {write_page(records, store, answer)}")
    with disk_errors("--out", records.folder, "free some space, then run the same command again"):
        if options.latex:
            print(f"LaTeX: {_write_latex(records, answer)}")
        if options.figures:
            print("\n".join(f"Figure: {file}" for file in write_figures(answer, records.folder / FIGURES)))


def _compare(studies: Sequence[str]) -> None:
    """Print the first study beside each of the others."""
    one, *others = [(name, load(find_study(name))) for name in studies]
    print("\n\n\n".join(two_studies_text(compare_studies(one[1], other), (one[0], name)) for name, other in others))


def _write_latex(records: Records, answer: Answer) -> Path:
    file = records.folder / TABLE_FILE
    file.write_text(latex_table(records, answer), encoding="utf-8")
    return file
