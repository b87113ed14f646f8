"""The summary of a study with the columns of its answer, for files and for Python."""

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.answer import Answer
from segsweep.report.answer.linearised import CLASS_IOU
from segsweep.report.cells import confirmed_runs, summarise


def answer_table(records: Records, answer: Answer) -> pd.DataFrame:
    """Return one row per cell: the columns of `summarise`, the interval of the score, the best set, and the IoU of each class.

    Further columns: `score`, `low` and `high` (the answer's measure with its 95 % interval over seeds and test images; a mean
    over seeds or source models, while `test_iou` is one over runs); `among_best` (whether the cell may be the best one; missing
    where the seeds do not decide it); `beaten_by` (the cell that is shown to score higher); and `test_iou_CLASS` (mean over
    confirmed runs).
    """
    summary, cells = summarise(records), {cell.cell: cell for cell in answer.cells}
    own = [cells[name] for name in summary["cell"]]
    runs = confirmed_runs(records)
    of_classes = [name for name in runs.columns if name.startswith(f"test_{CLASS_IOU}") and runs[name].notna().any()]
    means = runs.groupby("cell")[of_classes].mean().reindex(summary["cell"]).reset_index(drop=True)
    return pd.concat(
        [
            summary,
            pd.DataFrame(
                {
                    "score": [cell.estimate for cell in own],
                    "low": [cell.interval[0] for cell in own],
                    "high": [cell.interval[1] for cell in own],
                    "among_best": pd.array(
                        [cell.beaten_by is None if answer.decides and cell.units else None for cell in own], dtype="boolean"
                    ),
                    "beaten_by": pd.array([cell.beaten_by for cell in own], dtype="string"),
                }
            ),
            means,
        ],
        axis=1,
    )
