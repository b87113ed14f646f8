"""Records and answers as HTML, for notebooks."""

from html import escape

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.table import answer_table
from segsweep.report.status import status_of

ROWS = 60  # of the table; a longer one is cut in its middle


def summary_of(records: Records) -> pd.DataFrame:
    """Return one row per cell with its scores, intervals and settings; see `segsweep.report.answer.table.answer_table`."""
    return answer_table(records, records.answer)


def records_html(records: Records) -> str:
    """Return the name and the state of a study, its answer and its summary as HTML, with all names escaped.

    The state is that of the moment at which the records were loaded.
    """
    status = status_of(records)
    trials = f"{status.trials.done} of {status.trials.planned} trials done"
    failed = f", {status.trials.failed} failed" if status.trials.failed else ""
    return (
        f"<p><b>{escape(status.study)}</b>: {escape(status.state)}, {trials}{failed}</p>"
        f"{answer_html(records.answer)}{'' if records.trials.empty else _table_html(records.summary)}"
    )


def answer_html(answer: Answer) -> str:
    """Return the sentences of an answer as HTML, with all names escaped."""
    return "".join(f"<p>{escape(sentence)}</p>" for sentence in answer.sentences)


def _table_html(summary: pd.DataFrame) -> str:
    """Return a summary as an HTML table without its empty columns. Scores are shares with three decimals."""
    known = summary.replace("", pd.NA).dropna(axis="columns", how="all")
    shown = known.drop(columns="cell") if len(known.columns) > 1 else known
    html: str = shown.to_html(index=False, na_rep="", border=0, max_rows=ROWS, float_format="{:.3g}".format)
    return html
