"""The scores of sources in the report: one row per source, and their agreement with the measured gains."""

from pathlib import Path

import pandas as pd
import pytest

from segsweep.records import Records, load
from segsweep.records.writer import RecordWriter
from segsweep.report.source_scores import SCORES, Agreement, agreement, pairs_of_gains, source_scores


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Scores of two models of `near`, of `random` on both subsets, and of a source that failed."""
    near = {"source": "near", "kid": 1.0, "source_images": 240, "subset": "largest"}
    rows = [
        {**near, "source_seed": 0, "logme": -0.2, "logme_se": 0.01},
        {**near, "source_seed": 1, "logme": -0.4, "logme_se": 0.03},
        {"source": "random", "logme": -0.9, "logme_se": 0.02, "subset": "largest"},
        {"source": "random", "logme": -0.8, "logme_se": 0.05, "subset": "smallest"},
        {"source": "far", "subset": "largest", "status": "failed"},
    ]
    with RecordWriter(tmp_path / "s") as writer:
        writer.declare({"schema_version": 3, "name": "s"})
        for source in ("random", "near", "far"):
            writer.start("trials", f"trial {source}", {"study": "s", "trial_id": f"trial {source}", "source": source})
        for number, row in enumerate(rows):
            known = {"study": "s", "score_id": f"score {number}", "architecture": "unet4", "image_px": 32}
            writer.start("scores", f"score {number}", known)
            writer.end(f"score {number}", row.pop("status", "finished"), row)
    return load(tmp_path / "s")


def test_sources_have_one_row_each(records: Records) -> None:
    """Models of a source are averaged, sources are in the order of the study, and failed scores have no row."""
    table = source_scores(records).set_index("source")
    assert table.index.tolist() == ["random", "near"]
    assert table["logme"].tolist() == pytest.approx([-0.9, -0.3])
    assert table["logme_se"].tolist() == pytest.approx([0.02, 0.02])
    assert table["models"].tolist() == [1, 2]
    assert table.loc["near", "source_images"] == 240
    assert source_scores(records, "smallest")["logme"].tolist() == pytest.approx([-0.8])


def test_a_study_without_scores_has_an_empty_table(records: Records) -> None:
    """Records without scores give no row, with all columns."""
    empty = Records(**{**records.__dict__, "scores": records.scores.iloc[:0]})
    for subset in ("largest", "smallest"):
        table = source_scores(empty, subset)
        assert len(table) == 0
        assert {"source", "models", "kid_encoder", *SCORES} <= set(table.columns)


def test_agreement_counts_pairs() -> None:
    """Of six pairs of four sources the score orders five as measured, and all three that the measurement decides."""
    gains = pd.DataFrame(
        {
            "source": ["random", "near", "middle", "far"],
            "low": [0.0, 5.0, -3.0, -1.0],
            "high": [0.0, 9.0, 1.0, 4.0],
        }
    )
    sources, logme = ["near", "far", "random", "middle"], [-0.1, -0.5, -0.3, -0.9]
    scores = pd.DataFrame({"source": sources, "logme": logme, "kid": [1, 2, None, 3]})
    found = agreement(pairs_of_gains(gains), scores)
    assert (found.ordered, found.pairs, found.decided, found.decided_ordered) == (5, 6, 3, 3)
    assert str(found) == "orders 5 of 6 pairs of sources as measured, and 3 of the 3 pairs that the measurement itself decides"
    one = Agreement(ordered=0, pairs=1, decided=1, decided_ordered=0)
    assert str(one) == "orders 0 of 1 pair of sources as measured, but not the one pair that the measurement itself decides"
    of_kid = agreement(pairs_of_gains(gains), scores, "kid")
    assert (of_kid.ordered, of_kid.pairs, of_kid.decided) == (3, 3, 2)
    assert str(agreement(pairs_of_gains(gains.iloc[2:]), scores)).endswith("; no pair is decided by the measurement itself")


def test_agreement_needs_one_row_per_source() -> None:
    """With scores of several architectures, a source would have several values."""
    scores = pd.DataFrame({"source": ["a", "a"], "logme": [1.0, 2.0]})
    with pytest.raises(ValueError, match="keep one architecture"):
        agreement(pairs_of_gains(pd.DataFrame({"source": ["a"], "low": [0.0], "high": [0.0]})), scores)
