"""Export of records to TensorBoard event files: one run folder per trial and stage, with data for the HPARAMS tab.

The tab's format is defined in https://github.com/tensorflow/tensorboard/blob/2.18.0/tensorboard/plugins/hparams/api.proto.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from segsweep.records.lines import Row
from segsweep.records.schema import FINAL
from segsweep.records.study_records import Records
from segsweep.records.times import TIMES, seconds_of
from segsweep.records.wandb.names import history_of
from segsweep.report.cells import compared_axes, tuned_axes
from segsweep.report.rows import plain_rows

METRICS = {"best/val_iou": "val_iou", "test/iou": "test_iou"}  # name of a scalar -> column of the record
NAME_LENGTH = 150
SUCCEEDED = ("finished", "stopped")


def write_tensorboard(records: Records, folder: Path) -> list[str]:
    """Write event files: `PHASE/CELL/seed=S_ID` for every trial that has begun, `stage/STAGE_MODEL/seed=S_ID` for every stage.

    Scalars are the numbers of every epoch, with the same names as in W&B (`val/iou`, `train/loss`, `epoch/seconds` ...; the step
    is the epoch), and once those of `METRICS`. Hyperparameters are the compared and tuned axes and the phase. The time of an
    epoch is the start of the trial plus the seconds of all epochs up to it, because records do not contain pauses between starts.
    Importing tensorboardX loads torch if it is installed.

    Returns lines for the user: the written runs, and the command that opens them.
    """
    axes = [*compared_axes(records), *tuned_axes(records), "phase"]
    trials = records.trials[records.trials["status"] != "not_run"]
    epochs = {str(identity): rows for identity, rows in records.epochs.groupby("trial_id", sort=False)}
    _write_events(folder, [_event(0, 0.0, [_experiment(records, axes, trials)])])
    for trial in plain_rows(trials):
        name = Path(trial["phase"]) / _safe(trial["cell"]) / _safe(f"seed={trial['seed']}_{trial['trial_id']}")
        _write_events(folder / name, _trial_events(trial, axes, epochs.get(trial["trial_id"])))
    for stage in plain_rows(records.stages):
        leaf = _safe(f"seed={stage['source_seed']}_{stage['stage_id']}")
        name = Path("stage") / _safe(f"{stage['stage']} {stage['model']}") / leaf
        _write_events(folder / name, _epoch_events(stage, epochs.get(stage["stage_id"])))
    return [
        f"{folder}: {len(trials)} trials, {len(records.stages)} stages",
        f"to open it: tensorboard --logdir {shlex.quote(str(folder))}",
    ]


def _trial_events(trial: Row, axes: Sequence[str], epochs: pd.DataFrame | None) -> list[Row]:
    started, ended = (seconds_of(trial[name]) or 0.0 for name in TIMES)
    axis_values = {axis: _value(trial[axis]) for axis in axes if trial[axis] is not None}
    events = [_event(0, started, [_hparams("session_start_info", start_time_secs=started, hparams=axis_values)])]
    events += _epoch_events(trial, epochs)
    measured = {name: trial[column] for name, column in METRICS.items() if trial[column] is not None}
    if measured:
        events.append(_event(trial["best_epoch"] or 0, ended, _scalars(measured)))
    if trial["status"] in FINAL:
        status = "STATUS_SUCCESS" if trial["status"] in SUCCEEDED else "STATUS_FAILURE"
        events.append(_event(0, ended, [_hparams("session_end_info", end_time_secs=ended, status=status)]))
    return events


def _epoch_events(run: Row, epochs: pd.DataFrame | None) -> list[Row]:
    """Return one event per epoch of a trial or a stage, without the numbers that the epoch lacks."""
    if epochs is None:
        return []
    epochs = epochs.sort_values("epoch")
    times = (seconds_of(run["started_at"]) or 0.0) + epochs["seconds"].fillna(0.0).cumsum()
    numbers = epochs.select_dtypes("number").drop(columns="epoch")
    return [
        _event(epoch, time, _scalars(history_of(row)))
        for epoch, time, row in zip(epochs["epoch"].tolist(), times.tolist(), plain_rows(numbers), strict=True)
    ]


def _experiment(records: Records, axes: Sequence[str], trials: pd.DataFrame) -> Row:
    """Return the study's hyperparameters and metrics for the HPARAMS tab: tuned numbers as a range, others as a list."""
    hparams: list[Row] = []
    for axis in axes:
        values = sorted(trials[axis].dropna().unique().tolist())
        if axis in tuned_axes(records) and values and not isinstance(values[0], str):
            domain = {"domain_interval": {"min_value": values[0], "max_value": values[-1]}}
        else:
            domain = {"domain_discrete": {"values": [_value(value) for value in values]}}
        kind = "DATA_TYPE_STRING" if any(isinstance(value, str) for value in values) else "DATA_TYPE_FLOAT64"
        hparams.append({"name": axis, "type": kind, **domain})
    metrics = [{"name": {"tag": name}} for name in METRICS]
    return _hparams("experiment", name=records.study["name"], hparam_infos=hparams, metric_infos=metrics)


def _hparams(tag: str, **content: Any) -> Row:
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    data = HParamsPluginData(version=0, **{tag: content}).SerializeToString()
    return {"tag": f"_hparams_/{tag}", "metadata": {"plugin_data": {"plugin_name": "hparams", "content": data}}}


def _value(value: Any) -> Row:
    return {"string_value": value} if isinstance(value, str) else {"number_value": value}


def _scalars(numbers: Mapping[str, float]) -> list[Row]:
    return [{"tag": tag, "simple_value": number} for tag, number in numbers.items()]


def _event(step: int, wall_time: float, values: list[Row]) -> Row:
    return {"step": step, "wall_time": wall_time, "summary": {"value": values}}


def _write_events(folder: Path, events: Iterable[Row]) -> None:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event

    folder.mkdir(parents=True, exist_ok=True)
    with closing(EventsWriter(str(folder / "events"))) as writer:
        for event in events:
            writer.write_event(Event(**event))


def _safe(name: str) -> str:
    """Return a name with only characters that file systems accept."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", name)[:NAME_LENGTH]
