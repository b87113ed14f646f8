"""Why a source helps: scores that predict its transfer, beside the gain that the study measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from segsweep.records.study_records import Records
from segsweep.report.answer.words import count

SCORES = ("logme", "gbc", "h_score", "kid")
LOWER_IS_NEARER = ("kid",)  # for the others, a higher value predicts a better transfer
SOURCE = ("source", "architecture", "image_px")  # columns that identify a row
FACTS = (
    *("source_images", "source_classes", "source_val_mean_iou"),
    *(f"source_{colour}_{what}" for what in ("mean", "std") for colour in ("red", "green", "blue")),
    "source_foreground",
)
PAIR = ("source", "other", "low", "high")


def source_scores(records: Records, subset: str = "largest") -> pd.DataFrame:
    """Return one row per source, architecture and image size, with the scores of the source, in the order of the study.

    Columns: `source`, `architecture`, `image_px`; `logme`, `gbc`, `h_score` and `kid`, each with its standard error (`logme_se`);
    `kid_encoder`; the numbers of `models` of the source and of scored `images` of the target; facts of the source (`FACTS`).

    Several models of one source are averaged. The standard error is then the mean of theirs, an upper bound, since all are
    scored on the same images. Only finished scores count; the table is empty if the study has none.

    Args:
        records: Records of the study.
        subset: `largest` or `smallest`: the subset of training images on which sources are scored. They are the same if all
            cells of the study train on equally many images.
    """
    finished = records.scores[records.scores["status"] == "finished"]
    if subset == "smallest" and not (finished["subset"] == "smallest").any():
        subset = "largest"
    chosen = finished[finished["subset"] == subset]
    measured = [name for score in SCORES for name in (score, f"{score}_se")]
    grouped = chosen.groupby(list(SOURCE), sort=False, dropna=False)
    means, firsts = grouped[[*measured, *FACTS]].mean(), grouped[["kid_encoder", "images"]].first()
    table = pd.concat([means[measured], firsts, grouped.size().rename("models"), means[list(FACTS)]], axis=1).reset_index()
    order = {source: place for place, source in enumerate(records.trials["source"].drop_duplicates())}
    return table.sort_values("source", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def pairs_of_gains(gains: pd.DataFrame) -> pd.DataFrame:
    """Return every pair of sources with an interval of the difference of their gains, from the gains' own intervals.

    The interval is too wide, because it adds up both half-widths. Intervals of the differences themselves decide more pairs: use
    those of the contrasts between sources where they are known.

    Args:
        gains: One row per source: `source`, and its gain over a reference with the interval `low`..`high`. The reference itself
            may be a row with zeros.
    """
    rows = gains[["source", "low", "high"]].itertuples(index=False)
    listed = [(str(source), float(low), float(high)) for source, low, high in rows]
    pairs = [
        (source, other, low - other_high, high - other_low)
        for place, (source, low, high) in enumerate(listed)
        for other, other_low, other_high in listed[place + 1 :]
    ]
    return pd.DataFrame(pairs, columns=list(PAIR))


@dataclass(frozen=True)
class Agreement:
    """How far a score orders sources as the study measured them.

    Attributes:
        ordered: Number of pairs of sources that the score orders as measured.
        pairs: Number of pairs with a score.
        decided: Number of those pairs that the measurement itself decides: the interval of the difference leaves out 0.
        decided_ordered: Number of decided pairs that the score orders as measured.
    """

    ordered: int
    pairs: int
    decided: int
    decided_ordered: int

    def __str__(self) -> str:
        ordered = f"orders {self.ordered} of {count(self.pairs, 'pair')} of sources as measured"
        if not self.decided:
            return f"{ordered}; no pair is decided by the measurement itself"
        if self.decided == 1:
            return f"{ordered}, {'and' if self.decided_ordered else 'but not'} the one pair that the measurement itself decides"
        return f"{ordered}, and {self.decided_ordered} of the {self.decided} pairs that the measurement itself decides"


def agreement(pairs: pd.DataFrame, scores: pd.DataFrame, score: str = "logme") -> Agreement:
    """Return how far a score orders pairs of sources as measured.

    The measured order of a pair is the sign of the middle of its interval. A pair counts if both sources have the score; equal
    scores, and differences of exactly 0, are no order.

    Args:
        pairs: One row per pair of sources: `source`, `other`, and the interval `low`..`high` of how much more `source` gains.
        scores: One row per source, with the columns `source` and `score`: `source_scores` of one architecture and image size.
        score: Name of the score: one of `SCORES`.

    Raises:
        ValueError: a source has several rows in `scores`, as with several architectures.
    """
    if scores["source"].duplicated().any():
        raise ValueError("scores: a source has several rows; keep one architecture and one image_px")
    sign = -1 if score in LOWER_IS_NEARER else 1
    values = {str(source): sign * float(value) for source, value in _known(scores, score)}
    found = [
        ((low + high) * (values[source] - values[other]) > 0, low > 0 or high < 0)
        for source, other, low, high in pairs[list(PAIR)].itertuples(index=False)
        if source in values and other in values
    ]
    decided = [ordered for ordered, is_decided in found if is_decided]
    return Agreement(sum(ordered for ordered, _ in found), len(found), len(decided), sum(decided))


def _known(scores: pd.DataFrame, score: str) -> Sequence[tuple[str, float]]:
    """Return the sources whose score is known, with its value."""
    known = scores[scores[score].notna()]
    return list(zip(known["source"], known[score], strict=True))
