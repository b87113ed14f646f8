"""Writing a study's answers into its folder."""

from pathlib import Path

from segsweep.records.reader import Records
from segsweep.report.cells import summarise
from segsweep.report.pictures import predictions_picture
from segsweep.report.published import beside_published
from segsweep.report.shift import shift_table
from segsweep.report.text import table_text


def write_report(records: Records, store: Path) -> str:
    """Write `table.txt`, `table.csv`, `predictions.png` and, where there is something of it, `published.csv` and `shift.csv`
    into the folder.

    Returns the table as text. Clips, which take longer to draw, are `segsweep.report.clips.write_clips`'s.
    """
    text = table_text(records)
    (records.folder / "table.txt").write_text(text + "\n", encoding="utf-8")
    summarise(records).to_csv(records.folder / "table.csv", index=False)
    if not (published := beside_published(records)).empty:
        published.to_csv(records.folder / "published.csv", index=False)
    if not (shift := shift_table(records)).empty:
        shift.to_csv(records.folder / "shift.csv", index=False)
    if (picture := predictions_picture(records, store)) is not None:
        picture.save(records.folder / "predictions.png")
    return text
