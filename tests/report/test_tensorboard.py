"""Export of records to TensorBoard, read back with TensorBoard's own reader."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from segsweep.records import Records
from segsweep.report.tensorboard import write_tensorboard


def read(folder: Path) -> dict[str, EventAccumulator]:
    """Return every run, by the id at the end of its folder's name ("" for the folder itself)."""
    runs = {}
    for path in folder.rglob("events*"):
        name = "" if path.parent == folder else path.parent.name.rpartition("_")[2]
        assert name not in runs
        runs[name] = EventAccumulator(str(path.parent), size_guidance={"scalars": 0}).Reload()
    return runs


def plugin(run: EventAccumulator, tag: str) -> Any:
    """Return a run's data for the HPARAMS tab."""
    content = run.summary_metadata[f"_hparams_/{tag}"].plugin_data.content
    return getattr(plugin_data_pb2.HParamsPluginData.FromString(content), tag)


def test_every_scalar_of_every_epoch_is_there(troubled: Records, tmp_path: Path) -> None:
    """Each number of the epochs table is at its epoch in the run of its trial or stage, and there are no others."""
    write_tensorboard(troubled, tmp_path)
    runs = read(tmp_path)
    begun = troubled.trials.loc[troubled.trials["status"] != "not_run", "trial_id"]
    assert set(runs) == {"", *begun, *troubled.stages["stage_id"]}
    numbers = troubled.epochs.select_dtypes("number").columns.drop("epoch")
    for identity, run in runs.items():
        rows = troubled.epochs[troubled.epochs["trial_id"] == identity]
        found = {tag: {event.step: event.value for event in run.Scalars(tag)} for tag in run.Tags()["scalars"]}
        expected = {}
        for column in numbers:
            tag = re.sub("^(train|val)_", r"\1/", column)
            recorded = rows.dropna(subset=column)
            if len(recorded):
                values = [float(np.float32(value)) for value in recorded[column]]
                expected[tag if "/" in tag else f"epoch/{tag}"] = dict(zip(recorded["epoch"], values, strict=True))
        assert {tag: found[tag] for tag in found if tag not in ("best/val_iou", "test/iou")} == expected


def test_epochs_have_their_wall_time(records: Records, tmp_path: Path) -> None:
    """An epoch's wall time is the trial's start plus the seconds of all epochs up to it."""
    write_tensorboard(records, tmp_path)
    trial = records.trials.iloc[3]
    seconds = records.epochs.loc[records.epochs["trial_id"] == trial["trial_id"], "seconds"]
    events = read(tmp_path)[trial["trial_id"]].Scalars("val/iou")
    assert [event.wall_time for event in events] == pytest.approx(trial["started_at"].timestamp() + seconds.cumsum(), abs=1e-5)
    assert trial["started_at"].timestamp() < events[0].wall_time < events[1].wall_time < trial["ended_at"].timestamp()


def test_the_hparams_tab_finds_axes_and_measures(troubled: Records, tmp_path: Path) -> None:
    """Runs have their compared and tuned axes and their outcome; the study lists all axes; measures are scalars."""
    write_tensorboard(troubled, tmp_path)
    runs = read(tmp_path)
    experiment = plugin(runs[""], "experiment")
    assert [info.name for info in experiment.hparam_infos] == ["source", "freeze", "learning_rate", "phase"]
    freeze = experiment.hparam_infos[1]
    assert [value.string_value for value in freeze.domain_discrete.values] == ["encoder", "none"]
    rate = experiment.hparam_infos[2]
    assert rate.type == api_pb2.DATA_TYPE_FLOAT64
    assert (rate.domain_interval.min_value, rate.domain_interval.max_value) == (0.0003059, 0.003059)
    assert [info.name.tag for info in experiment.metric_infos] == ["best/val_iou", "test/iou"]
    succeeded = {"finished": True, "stopped": True, "failed": False, "skipped": False}
    for _, trial in troubled.trials[troubled.trials["status"] != "not_run"].iterrows():
        run = runs[trial["trial_id"]]
        start = plugin(run, "session_start_info")
        assert {name: value.string_value or value.number_value for name, value in start.hparams.items()} == {
            name: trial[name] for name in ("source", "freeze", "learning_rate", "phase")
        }
        ended = metadata.SESSION_END_INFO_TAG in run.summary_metadata
        assert ended == (trial["status"] in succeeded)
        if ended:
            status = plugin(run, "session_end_info").status
            assert status == (api_pb2.STATUS_SUCCESS if succeeded[trial["status"]] else api_pb2.STATUS_FAILURE)
        for tag, column in (("best/val_iou", "val_iou"), ("test/iou", "test_iou")):
            values = [(event.step, event.value) for event in run.Scalars(tag)] if tag in run.Tags()["scalars"] else []
            known = [] if pd.isna(trial[column]) else [(trial["best_epoch"], float(np.float32(trial[column])))]
            assert values == known


def test_runs_have_readable_and_safe_names(records: Records, tmp_path: Path) -> None:
    """A run is below its phase and cell, with its seed; long and odd names of cells become safe and stay distinct."""
    odd = "source=supervised:folder:/über alles/../x " + "y" * 300
    trials = records.trials.assign(cell=records.trials["cell"].where(records.trials["source"] == "random", odd))
    lines = write_tensorboard(replace(records, trials=trials), tmp_path)
    folders = [path.parent.relative_to(tmp_path) for path in tmp_path.rglob("events*") if path.parent != tmp_path]
    assert len(set(folders)) == 17
    trial = trials[trials["phase"] == "confirm"].iloc[0]
    assert Path(f"confirm/source=random_freeze=none/seed={trial['seed']}_{trial['trial_id']}") in folders
    for folder in folders:
        assert len(folder.parts) == 3
        assert all(re.fullmatch(r"[A-Za-z0-9=_][A-Za-z0-9._=-]{1,149}", part) for part in folder.parts)
    assert lines == [f"{tmp_path}: 16 trials, 1 stages", f"to open it: tensorboard --logdir {tmp_path}"]
