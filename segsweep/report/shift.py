"""Comparison before and after fine-tuning: the effect of the domain shift, the gain, and the forgetting of the source."""

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.cells import compared_axes, confirmed_runs

FORGETTING = ("source_mean_iou_before", "source_mean_iou_after", "forgetting")


def shift_table(records: Records) -> pd.DataFrame:
    """Return one row per cell with means over its confirmed runs; an empty frame for a study without `domain_shift`.

    Columns: `cell`; the compared axes; mean accuracy, mean IoU and the IoU of every class, each as `before_X` (the source's
    model on the test split) and `test_X` (the fine-tuned model); `source_mean_iou_before`, `source_mean_iou_after` and
    `forgetting` (on the source's validation split). Values that were not measured are NaN.
    """
    confirmed = confirmed_runs(records)
    classes = [name.removeprefix("before_") for name in map(str, confirmed.columns) if name.startswith("before_iou_")]
    measured = [name for name in classes if confirmed[f"before_{name}"].notna().any()]
    if not measured and confirmed["forgetting"].isna().all():
        return pd.DataFrame()
    pairs = [f"{when}_{name}" for name in ("mean_accuracy", "mean_iou", *measured) for when in ("before", "test")]
    confirmed = confirmed.reindex(columns=list(dict.fromkeys([*confirmed.columns, *pairs])))  # a class may lack its test column
    rows = []
    for cell in records.study["cells"]:
        runs = confirmed[confirmed["cell"] == cell]
        if len(runs):
            axes = {axis: runs[axis].iloc[0] for axis in compared_axes(records)}
            rows.append({"cell": cell, **axes, **{name: float(runs[name].mean()) for name in (*pairs, *FORGETTING)}})
    return pd.DataFrame(rows)
