"""A search that starts from the records of earlier studies."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import segsweep
from segsweep.cli.study_script import main
from segsweep.config import LogUniform, Search, Study
from segsweep.records import Records, load

OPTIONS = ("--runner", "inline", "--device", "cpu", "--threads", "1")


def plan(study: Study, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code and the text of `--plan` in the folder of the finished grid."""
    with pytest.raises(SystemExit) as end:
        main(study, arguments=[*OPTIONS, "--plan", "--out", str(folder / "runs")])
    shown = capsys.readouterr()
    return int(end.value.code or 0), " ".join((shown.out + shown.err).split())


def search_of(study: Study, **changes: object) -> Study:
    """Return a study as a search that starts from the finished grid."""
    return replace(study, name="again", search=Search(trials=6, warm_start=("tiny",)), **changes)  # type: ignore[arg-type]


def test_a_search_starts_from_the_tuning_trials_of_a_grid(
    copy_of_finished: Path, tiny_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sampler knows the eight tuning trials of the grid, with their scores, before its first suggestion."""
    from segsweep.sweep import search

    known = []
    suggest = search.suggest

    def recorded(space, observations, *rest):  # type: ignore[no-untyped-def]
        known.append(list(observations))
        return suggest(space, observations, *rest)

    monkeypatch.setattr(search, "suggest", recorded)
    records = segsweep.run(search_of(tiny_study), out=copy_of_finished / "runs", runner="inline", device="cpu", threads=1)
    assert [len(each) for each in known[:3]] == [8, 9, 10]
    grid = load(copy_of_finished / "runs" / "tiny")
    last = grid.epochs.groupby("trial_id")["val_iou"].mean()  # two epochs: the smoothed reading is the mean of both
    tuning = grid.trials.loc[grid.trials["phase"] == "tune", "trial_id"]
    assert sorted(each.value for each in known[0]) == pytest.approx(sorted(last[tuning]))
    assert (records.trials["phase"] == "search").sum() == 6


def test_the_plan_counts_the_trials_that_a_search_starts_from(
    copy_of_finished: Path, tiny_study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trials outside the space of the search are left out, and the plan says how many lie in it."""
    code, text = plan(search_of(tiny_study), copy_of_finished, capsys)
    assert code == 0
    assert "warm start from tiny: 8 of its 8 tuning trials lie in the space of this search" in text
    one_policy = search_of(tiny_study, compare={**tiny_study.grids[0], "freeze": ["none"]})
    assert "warm start from tiny: 4 of its 8 tuning trials" in plan(one_policy, copy_of_finished, capsys)[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda study: {"fixed": {**study.fixed, "epochs": 3}},
        lambda _: {"tune": {"learning_rate": LogUniform(0.5, 1.0)}},
        lambda study: {"target": replace(study.target, protocol="70-10-20")},
        lambda study: {"fixed": {**study.fixed, "keep": "val_loss"}},
    ],
    ids=["length", "range", "split", "measure"],
)
def test_an_earlier_study_that_cannot_be_compared_is_refused(
    copy_of_finished: Path, tiny_study: Study, capsys: pytest.CaptureFixture[str], change: Callable[[Study], dict[str, object]]
) -> None:
    """A plan says that no trial of the earlier study fits, and what to do."""
    code, text = plan(search_of(tiny_study, **change(tiny_study)), copy_of_finished, capsys)
    assert code == 2
    assert "warm start from tiny: none of its 8 tuning trials has the target data, protocol, measure and settings of this" in text


def test_an_unknown_earlier_study_is_refused(tiny_study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the study and the folder in which it was looked for."""
    code, text = plan(search_of(tiny_study), tmp_path, capsys)
    assert code == 2
    assert "warm start from tiny: no such study; name a study's folder, or one in" in text


def test_records_of_an_earlier_version_are_refused_with_the_reason(
    copy_of_finished: Path, tiny_study: Study, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records without the key of their target's data cannot be compared; the line says so."""

    def older(folder: Path) -> Records:
        records = load(folder)
        return replace(records, all_trials=records.all_trials.drop(columns="target_data"))

    monkeypatch.setattr("segsweep.sweep.warm_start.load", older)
    code, text = plan(search_of(tiny_study), copy_of_finished, capsys)
    assert code == 2
    assert "its records do not name their target's data, because an earlier version of segsweep wrote them" in text
