"""Paired differences between cells, by seed and test image, with a bootstrap interval."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.cells import compared_axes, confirmed_runs, follows_source, having

DRAWS, LEVEL, SEED = 2000, 0.95, 0
FEW_SEEDS = 5  # a bootstrap over fewer seeds underestimates their variance
COLUMNS = ("cell", "reference", "difference", "low", "high", "images", "seeds")


def reference_cells(records: Records, reference: Mapping[str, object]) -> dict[str, str]:
    """Return the partner of every other cell: the cell with the settings `reference` and equal values on all other compared axes.

    If the partner has another source, axes that describe the source may differ. Cells without a partner, or with several, are
    omitted.
    """
    cells = records.trials.drop_duplicates("cell")
    references = having(cells, reference)
    axes = [axis for axis in compared_axes(records) if axis not in reference]
    partners: dict[str, str] = {}
    for _, row in cells[~cells["cell"].isin(references["cell"])].iterrows():
        same_source = row["source"] == reference.get("source", row["source"])
        alike = having(references, {axis: row[axis] for axis in axes if same_source or not follows_source(axis)})
        if len(alike) == 1:
            partners[str(row["cell"])] = str(alike["cell"].iloc[0])
    return partners


def paired_differences(records: Records, partners: Mapping[str, str], measure: str = "iou") -> pd.DataFrame:
    """Return one row per cell whose confirmed runs share seeds and test images with the runs of its partner.

    Columns: `cell`; `reference` (its partner); `difference` (mean of `measure`, a column of `images`, over test images and seeds,
    minus the partner's); `low` and `high` (the 95 % interval of the difference); `images` and `seeds` (their numbers).

    The interval is a bootstrap that resamples images and, if there are several, seeds, each with all of its values (the
    "pigeonhole" bootstrap, Owen 2007, https://doi.org/10.1214/07-AOAS122). With one seed it does not cover the randomness of
    training, with two or three seeds only a part of it.
    """
    images = records.images[["trial_id", "seed", "image", measure]]
    images = images.merge(confirmed_runs(records)[["trial_id", "cell"]], on="trial_id")
    of_cell = images.groupby("cell")
    scores = {cell: rows.pivot_table(index="seed", columns="image", values=measure, aggfunc="mean") for cell, rows in of_cell}
    rows = []
    for cell, partner in partners.items():
        if cell in scores and partner in scores:
            both = (scores[cell] - scores[partner]).dropna(how="all").dropna(axis=1, how="all")
            each_SN = both.to_numpy(dtype=np.float64)
            if each_SN.size:
                rows.append((cell, partner, float(np.nanmean(each_SN)), *bootstrap_interval(each_SN), *each_SN.shape[::-1]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def difference_text(differences: pd.DataFrame) -> str:
    """Return sentences on the number of differences with their interval on one side of zero, and on the intervals' coverage.

    The text is empty for an empty frame.
    """
    if differences.empty:
        return ""
    above, below = (differences["low"] > 0).sum(), (differences["high"] < 0).sum()
    images, seeds = _count(differences["images"], "test image"), _count(differences["seeds"], "seed")
    text = (
        f"Of {len(differences)} {'difference' if len(differences) == 1 else 'differences'}, {above} lie above zero and {below} "
        f"below it with their whole interval ({images}, {seeds})."
    )
    fewest = differences["seeds"].min()
    if len(differences) > 1:
        text += " Of many 95 % intervals about 1 in 20 excludes zero by chance alone."
    if fewest == 1:
        text += " With one seed an interval covers only the choice of images: another seed may reverse a sign that looks certain."
    elif fewest < FEW_SEEDS:
        text += " With so few seeds the intervals tend to be too narrow."
    return text


def _count(numbers: "pd.Series[int]", what: str) -> str:
    """Return a number or a range of numbers with its noun, in words."""
    least, most = numbers.min(), numbers.max()
    return f"{least if least == most else f'{least} to {most}'} {what if most == 1 else f'{what}s'}"


def bootstrap_interval(differences_SN: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % bootstrap percentile interval of the mean of differences per seed and image (S, N), ignoring NaN.

    The resampling is seeded and depends only on the shape, so the same records give the same interval.
    """
    seeds, images = differences_SN.shape
    rng = np.random.default_rng(SEED)
    seed_counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS)
    image_counts = rng.multinomial(images, np.full(images, 1 / images), DRAWS)
    present = ~np.isnan(differences_SN)
    sums = ((seed_counts @ np.where(present, differences_SN, 0.0)) * image_counts).sum(axis=1)
    counts = ((seed_counts @ present.astype(np.float64)) * image_counts).sum(axis=1)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(sums[counts > 0] / counts[counts > 0], [tail, 100 - tail])
    return float(low), float(high)
