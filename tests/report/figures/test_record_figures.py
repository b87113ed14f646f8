"""Figures of the records: tuning trials, costs, confusion matrices."""

import pandas as pd
import pytest
from matplotlib.axes import Axes

from segsweep.records import Records
from segsweep.report.answer.answer import answer_of
from segsweep.report.figures import cell_seconds, confusion_figure, confusion_shares, cost_figure, rates_figure


def drawn(ax: Axes, fill: str) -> list[tuple[float, float]]:
    """Return the points (rate, IoU) with markers of a fill, without the rings of chosen settings."""
    lines = [line for line in ax.get_lines() if line.get_linestyle() == "None" and line.get_color() != "black"]
    return sorted((float(x), float(y)) for line in lines if line.get_fillstyle() == fill for x, y in line.get_xydata())


def test_a_tuning_trial_is_filled_if_it_ran_to_its_end(troubled: Records) -> None:
    """Stopped trials are hollow, trials without a reading are not drawn, and a ring marks each chosen setting."""
    tuning = troubled.trials[(troubled.trials["phase"] == "tune") & troubled.trials["val_iou"].notna()]
    figure = rates_figure(troubled)
    assert figure
    for fill, rows in (
        ("full", tuning[tuning["status"] == "finished"]),
        ("none", tuning[tuning["status"] != "finished"]),
    ):
        found = sorted(each for ax in figure.axes for each in drawn(ax, fill))
        assert found == sorted(zip(rows["learning_rate"].astype(float), rows["val_iou"].astype(float), strict=True))
    rings = [line for ax in figure.axes for line in ax.get_lines() if line.get_color() == "black"]
    assert sum(len(line.get_xdata()) for line in rings) == tuning["chosen"].sum() > 0
    assert {ax.get_xscale() for ax in figure.axes} == {"log"}


def test_a_cell_costs_its_trials_and_its_source(records: Records) -> None:
    """Every cell counts all of its trials and the whole training of its source; random weights have no source."""
    found = cell_seconds(records)
    trials = records.trials.groupby("cell")["seconds"].sum()
    extra = (found - trials).groupby(records.trials.drop_duplicates("cell").set_index("cell")["source"]).agg(["min", "max"])
    assert extra.loc["random"].tolist() == pytest.approx([0, 0])
    assert extra.drop("random").to_numpy() == pytest.approx(records.stages["seconds"].sum())
    figure = cost_figure(records, answer_of(records))
    assert figure
    assert sorted(
        float(line.get_xdata()[0]) for line in figure.axes[0].get_lines() if line.get_marker() in "os"
    ) == pytest.approx(sorted(found))


def test_rows_of_a_confusion_matrix_sum_to_one(records: Records) -> None:
    """They are pixels of all seeds together; the figure shows the chosen cell and its partner of random weights."""
    cell = records.study["cells"][-1]
    shares = confusion_shares(records, cell)
    assert shares.sum(axis=1).to_numpy() == pytest.approx(1)
    own = records.confusions.merge(records.trials.loc[records.trials["cell"] == cell, ["trial_id"]], on="trial_id")
    pixels = own.groupby(["truth", "predicted"])["pixels"].sum()
    truth, predicted = pixels.index[0]
    assert shares.loc[truth, predicted] == pytest.approx(pixels.iloc[0] / pixels[truth].sum())
    answer = answer_of(records)
    figure = confusion_figure(records, answer)
    assert figure
    chosen = answer.cell(str(answer.chosen)).label
    assert figure.axes[0].get_title().replace("\n", ", ") == chosen
    assert len(figure.axes) == (2 if chosen.startswith("random") else 3)  # with the scale of colours


def test_without_confirmed_runs_there_is_no_figure(records: Records) -> None:
    """The caller gets None, and can write a sentence instead."""
    records.trials.loc[records.trials["phase"] == "confirm", "status"] = pd.NA
    answer = answer_of(records)
    assert (cost_figure(records, answer), confusion_figure(records, answer)) == (None, None)
