"""The report of a study, written into its folder."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from segsweep.errors import disk_errors
from segsweep.files import replacing
from segsweep.records.confirmed_models import AGAIN, models_of
from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer, answer_of
from segsweep.report.answer.table import answer_table
from segsweep.report.cells import median_runs
from segsweep.report.page.study_page import study_page
from segsweep.report.prediction_sheet import prediction_sheet
from segsweep.report.published_comparison import beside_published
from segsweep.report.shift import shift_table
from segsweep.report.text import table_text

PAGE_FILE = "report.html"


def write_report(records: Records, store: str | Path, answer: Answer | None = None) -> str:
    """Write a study's tables and predictions into its folder, and return the table as text, with a line on lost models below it.

    The files are `table.txt`, `table.csv`, `predictions.png` and, if the study has such results, `published.csv` and `shift.csv`.
    """
    answer = answer or answer_of(records)
    text = table_text(records, answer)
    lost = models_of(median_runs(records), store)[1]
    sheet = prediction_sheet(records, store)
    with _disk_errors(records):
        (records.folder / "table.txt").write_text(text + "\n", encoding="utf-8")
        answer_table(records, answer).to_csv(records.folder / "table.csv", index=False)
        if not (published := beside_published(records)).empty:
            published.to_csv(records.folder / "published.csv", index=False)
        if not (shift := shift_table(records)).empty:
            shift.to_csv(records.folder / "shift.csv", index=False)
        if sheet is not None:
            sheet.save(records.folder / "predictions.png")
    return "\n".join([text, *_lost_lines(lost)])


def write_page(records: Records, store: str | Path, answer: Answer | None = None) -> Path:
    """Write a study's page `report.html` into its folder, and return its path.

    It contains the clips that `segsweep.report.clips.write_clips` has drawn.
    """
    page = study_page(records, store, answer)
    with _disk_errors(records), replacing(records.folder / PAGE_FILE) as file:  # a browser may show it while the study runs
        file.write_text(page, encoding="utf-8")
    return records.folder / PAGE_FILE


def _disk_errors(records: Records) -> AbstractContextManager[None]:
    return disk_errors("--out", records.folder, f"free some space, then run segsweep report {records.folder}")


def _lost_lines(lost: Mapping[str, str]) -> list[str]:
    """Return a line on cells without predictions because their models are lost, with the remedy; none if there are none."""
    if not lost:
        return []
    trial, reason = next(iter(lost.items()))
    cells = "1 cell" if len(lost) == 1 else f"{len(lost)} cells"
    return [f"predictions.png omits {cells}: the model of trial {trial} {reason}; {AGAIN}"]
