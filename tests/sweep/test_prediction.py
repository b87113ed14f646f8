"""The prediction of a study, and what a run adds to later predictions."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import segsweep
from segsweep.config import Search, Study
from segsweep.records import Records, load
from segsweep.records.start_prediction import StartPrediction
from segsweep.store.contents import SPEEDS
from segsweep.sweep.announce import prediction
from segsweep.sweep.estimate import Estimate
from segsweep.sweep.folders import Folders
from segsweep.sweep.options import Options
from segsweep.sweep.prediction_text import prediction_lines
from segsweep.sweep.progress import choose_view
from segsweep.sweep.run_times import device_seconds, ended_since, run_times, share_of_core
from segsweep.sweep.session import Purpose, Session, SessionConfig, open_session
from segsweep.sweep.speeds import Speeds
from segsweep.training import speed
from segsweep.training.step import Stepper
from segsweep.training.timings import Probe, Timings, read_timings

OPTIONS = {"runner": "inline", "device": "cpu", "threads": 1}
EPOCHS, VAL, TEST, TRAIN = 2, 8, 8, 24  # of the tiny study; the target has 40 images
SHARE = 0.5  # of a core that the workers got


@contextmanager
def session_of(study: Study, folder: Path) -> Iterator[Session]:
    """Open a study for a plan."""
    view = choose_view(Console(quiet=True))
    config = SessionConfig(Purpose.PLAN, Folders.make(folder / "runs", None, []), Options(**OPTIONS), view, view.notify)
    with open_session(study, config) as session:
        yield session
    view.close()


def timings_of(session: Session) -> Timings:
    return read_timings(session.catalog.store.text(SPEEDS))


def test_a_run_keeps_its_times_and_its_prediction(finished: Path, tiny_study: Study) -> None:
    """The store has times of every kind of work that ran, and `study.json` what the run predicted and took."""
    (start,) = json.loads((finished / "runs" / "tiny" / "study.json").read_text())["starts"]
    predicted = StartPrediction.of_start(start)
    assert predicted is not None
    assert 0 < predicted.low < predicted.seconds < predicted.high
    assert predicted.took_seconds > predicted.took_device_seconds > 0
    assert 0 < predicted.cpu_share <= 1
    assert predicted.sentence.startswith("Predicted ")
    with session_of(replace(tiny_study, seeds=3), finished) as session:
        counts = sorted(times.tasks for times in timings_of(session).tasks.values())
    assert counts == [8, 9]  # trials by freeze policy; the stage is the same work as trials that freeze nothing


def test_a_second_study_is_priced_by_the_times_of_the_first(finished: Path, copy_of_finished: Path, tiny_study: Study) -> None:
    """A grown study predicts only what is left, from records alone; a finished one predicts nothing."""
    with session_of(replace(tiny_study, seeds=3), copy_of_finished) as session:
        found = prediction(session)
        assert (found.recorded, found.probed) == (2, 0)
        assert [price.tasks for price in found.cells] == [1] * 4
        assert found.sources.tasks == 0
        assert found.tuning_share == Estimate.exact(1.0)
    with session_of(tiny_study, finished) as session:
        assert prediction(session) is None


def test_the_totals_are_the_sums_of_the_cells(tiny_study: Study, tmp_path: Path) -> None:
    """Time and disk add up over cells and sources, memory is the largest; one worker needs all device seconds."""
    with session_of(tiny_study, tmp_path) as session:
        found = prediction(session)
        values = found.as_dict()
        parts = [*values["cells"], values["sources"]]
        for end in ("low", "expected", "high"):
            assert values["device_seconds"][end] == pytest.approx(sum(part["seconds"][end] for part in parts))
            assert values["finish_seconds"][end] == pytest.approx(values["device_seconds"][end])
        assert values["disk_bytes"]["expected"] > sum(part["disk_bytes"]["expected"] for part in parts)  # and prepared data
        assert values["memory_bytes"]["expected"] == max(part["memory_bytes"]["expected"] for part in parts)
        assert [part["tasks"] for part in parts] == [4, 4, 4, 4, 1]
        assert values["speeds_from_probes"] == 2
        lines = list(prediction_lines(found, "cpu x1"))
        busy = " ".join(prediction_lines(replace(found, free_share=0.25), "cpu x1"))
        assert "a thread gets 25 % of a core now; while this lasts, all takes 4.0 times as long." in busy.replace("  ", " ")
        assert "Other processes" not in " ".join(prediction_lines(replace(found, free_share=0.95), "cpu x1"))
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("Predicted: ")
    assert lines[-1].split()[:2] == ["sources", "1"]


@pytest.mark.parametrize("name", ["", "source=" + 90 * "x", "a study of one cell"])
def test_any_name_of_a_cell_fits_the_table(tiny_study: Study, tmp_path: Path, name: str) -> None:
    """A cell without a name, one with a name longer than a line, and one without axes have a row of at most 80 columns."""
    with session_of(tiny_study, tmp_path) as session:
        found = prediction(session)
    lines = list(prediction_lines(replace(found, cells=(replace(found.cells[0], name=name),)), "cpu x1"))
    assert max(map(len, lines)) <= 80
    assert sum(line.split()[-1] in ("kB", "MB") for line in lines if line.strip()) >= 2


def test_more_workers_end_no_sooner_than_the_longest_chain(tiny_study: Study, tmp_path: Path) -> None:
    """Two workers halve the time; a thousand still wait for a source, then a tuning trial, then a confirmed run."""
    with session_of(tiny_study, tmp_path) as session:
        costs = session.costs
        times = []
        for workers in (1, 2, 1000):
            runner = replace(session.runner, workers=workers)
            times.append(prediction(replace(session, runner=runner)).finish_seconds.expected)
        stage = costs.stage(session.plan.stages()[0])
        path = stage + max(
            costs.trial(cell.settings, tested=False) + costs.trial(cell.settings, tested=True) for cell in session.plan.cells
        )
    assert times[1] == pytest.approx(times[0] / 2)
    assert times[2] == pytest.approx(path)


def test_a_run_that_a_budget_ends_is_compared_for_the_part_that_ran(
    tiny_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a budget for some trials of each cell, the prediction is compared for the share of the work that was done."""
    probe = Probe(0.0002, 0.0001, at=time.time(), build_seconds=0.001, cpu_share=1.0)  # real trials take longer
    monkeypatch.setattr(speed, "_measure", lambda *_: probe)
    monkeypatch.setattr(Speeds, "free_share", 1.0)
    step = Stepper.step
    monkeypatch.setattr(Stepper, "step", lambda *arguments: (time.sleep(0.02), step(*arguments))[1])
    study = replace(tiny_study, trials_per_cell=10, seeds=3, compare={**tiny_study.grids[0], "freeze": ["none"]})
    with session_of(study, tmp_path) as session:
        hours = 1.5 * prediction(session).device_seconds.expected / 3600
    segsweep.run(study, out=tmp_path / "runs", budget_hours=hours, **OPTIONS)
    start = json.loads((tmp_path / "runs" / "tiny" / "study.json").read_text())["starts"][-1]
    predicted = StartPrediction.of_start(start)
    done = (load(tmp_path / "runs" / "tiny").all_trials["status"] == "finished").sum()
    assert 0 < done < 26
    assert 0 < predicted.share_done < 1
    assert f" for the {100 * predicted.share_done:.0f} % of the work that ran, took" in predicted.sentence


@pytest.fixture
def known_times(finished: Path) -> Records:
    """The records of the tiny study, with times by hand: a result takes 3 s, 0.6 s lie outside, a test takes 0.8 s more."""
    records = load(finished / "runs" / "tiny")
    epochs = records.all_epochs.assign(seconds=3.0, images_per_second=20.0, cpu_seconds=3.0 * SHARE)
    tables = {}
    for name in ("all_trials", "all_stages"):
        rows = getattr(records, name)
        seconds = (3.0 + 0.6) * EPOCHS + 0.6 + (0.8 * (rows["phase"] == "confirm").astype(float) if "phase" in rows else 0.0)
        tables[name] = rows.assign(ended_at=rows["started_at"] + pd.to_timedelta(seconds, unit="s"))
    return replace(records, all_epochs=epochs, **tables)


def test_the_times_of_a_run_are_medians_of_its_cpu_time(known_times: Records, copy_of_finished: Path, tiny_study: Study) -> None:
    """Times per image, result and test follow from the records, as CPU time; trials priced by them cost what they took."""
    with session_of(tiny_study, copy_of_finished) as session:
        found = run_times(known_times, session.planner, session.costs, time.time() - 3600, "inline")
        times = found.tasks[session.costs.trial_key(session.plan.cells[0].settings).text]
        assert times.tasks == 9
        assert times.train_seconds == pytest.approx(SHARE * 0.05)
        assert times.evaluate_seconds == pytest.approx(SHARE * (3.0 - TRAIN / 20) / VAL)
        assert times.result_seconds == pytest.approx(SHARE * 0.6)
        assert times.test_seconds == pytest.approx(SHARE * 0.8 / TEST)
        assert (times.cpu_share, times.spread) == (SHARE, 1.0)
        ended = ended_since(known_times, time.time() - 3600, session.costs)
        assert share_of_core(ended, known_times, session.costs) == SHARE
        assert device_seconds(ended) == pytest.approx(17 * (3.6 * EPOCHS + 0.6) + 8 * 0.8 + _scores(known_times), abs=0.1)
        session.catalog.store.text(SPEEDS).write(found.as_text())
    with session_of(tiny_study, copy_of_finished) as session:
        settings = session.plan.cells[0].settings
        assert session.costs.trial(settings, tested=False) == pytest.approx(SHARE * (3.6 * EPOCHS + 0.6))
        assert session.costs.trial(settings, tested=True) == pytest.approx(SHARE * (3.6 * EPOCHS + 0.6 + 0.8))


def _scores(records: Records) -> float:
    rows = records.all_scores
    return float((rows["ended_at"] - rows["started_at"]).dt.total_seconds().sum())


def test_only_tasks_of_this_start_on_this_device_count(known_times: Records, copy_of_finished: Path, tiny_study: Study) -> None:
    """Tasks of an earlier start, resumed ones and those of another device teach nothing."""
    with session_of(tiny_study, copy_of_finished) as session:
        assert run_times(known_times, session.planner, session.costs, time.time(), "inline").tasks == {}
        for change in ({"device": "a GPU"}, {"starts": 2}):
            trials = known_times.all_trials.assign(**change)
            found = run_times(
                replace(known_times, all_trials=trials), session.planner, session.costs, time.time() - 3600, "inline"
            )
            assert [times.tasks for times in found.tasks.values()] == [1]  # the stage


def test_the_error_of_a_prediction_is_stated_with_the_share_of_the_cores() -> None:
    """The line after a run has the error; if other processes took cores, also the error that remains without them."""
    calm = StartPrediction(540.0, 720.0, 1020.0, 720.0, took_seconds=842.4, took_device_seconds=842.4, cpu_share=0.97)
    assert calm.sentence == "Predicted 12 min (9.0 min to 17 min), took 14 min (+17 %)"
    busy = replace(calm, took_seconds=1440.0, cpu_share=0.45)
    assert busy.sentence == (
        "Predicted 12 min (9.0 min to 17 min), took 24 min (+100 %); workers got 45 % of a core, without other processes it is "
        "about 11 min (\N{MINUS SIGN}10 %)"
    )
    part = replace(calm, took_seconds=180.0, share_done=0.25)
    assert part.sentence == "Predicted 3.0 min (2.2 min to 4.2 min) for the 25 % of the work that ran, took 3.0 min (+0 %)"
    assert replace(calm, took_seconds=None).sentence == "Predicted 12 min (9.0 min to 17 min)"
    assert StartPrediction.of_start({"prediction": calm.facts["prediction"]}) == calm
    assert StartPrediction.of_start({}) is None
    assert StartPrediction.of_start({"prediction": {"later": 1}}) is None


def test_a_search_is_priced_by_its_trials_and_confirmed_runs(tiny_study: Study, tmp_path: Path) -> None:
    """Which cells a search will suggest is not known, so its row has the mean price of a trial in the cells."""
    search = replace(tiny_study, search=Search(trials=6, confirm=2))
    with session_of(search, tmp_path) as session:
        found = prediction(session)
        assert [(price.name, price.tasks) for price in found.cells] == [("search", 6 + 2 * tiny_study.seeds)]
        assert found.cells[0].seconds.expected == pytest.approx(session.costs.total([]), rel=0.3)  # other cells, equal counts
