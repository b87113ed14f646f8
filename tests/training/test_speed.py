import json
import time
from dataclasses import replace

import pytest

from segsweep.store.folder import FolderStore
from segsweep.training import speed
from segsweep.training.speed import measure_speed
from segsweep.training.speed_key import SpeedKey
from segsweep.training.timings import AGE_DAYS, Timings, read_timings

KEY = SpeedKey("cpu x1, a processor", "unet4", 2, 32, 4, "none", "float32", "flip")


@pytest.fixture
def store(tmp_path):
    """Return an empty store."""
    return FolderStore(tmp_path / "store")


@pytest.mark.parametrize(
    "key",
    [KEY, replace(KEY, policy="encoder"), SpeedKey("cpu", "resnet18", 0, 32, 4, "simclr", "float32")],
    ids=lambda key: key.policy,
)
def test_a_speed_is_measured_once(key, cpu, store, monkeypatch):
    """Times and sizes of a probe are positive; the next call returns the stored probe, and another key measures its own."""
    monkeypatch.setattr(speed, "ROUNDS", 1)
    text = store.text("speed.json")
    found = measure_speed(key, cpu, text)
    assert min(found.train_seconds, found.evaluate_seconds, found.build_seconds, found.weight_bytes, found.trainable_bytes) > 0
    assert 0 < found.cpu_share <= 1.1
    marked = replace(found, train_seconds=7.0, cpu_share=1.0)
    text.write(Timings({key.text: marked}).as_text())
    assert measure_speed(key, cpu, text) == marked
    assert measure_speed(replace(key, batch_size=2), cpu, text).train_seconds < 7
    assert read_timings(text).probes.keys() == {key.text, replace(key, batch_size=2).text}


@pytest.mark.parametrize(
    "change", [{"cpu_share": 0.4}, {"cpu_share": None, "load": 1.5}, {"at": time.time() - (AGE_DAYS + 1) * 86_400}]
)
def test_a_disturbed_or_old_probe_is_measured_again(change, cpu, store):
    """A probe from a busy moment, or older than `AGE_DAYS`, is not used for good: the next command measures again."""
    text = store.text("speed.json")
    found = replace(measure_speed(KEY, cpu, text), train_seconds=7.0, cpu_share=1.0)
    text.write(Timings({KEY.text: replace(found, **change)}).as_text())
    assert measure_speed(KEY, cpu, text).train_seconds < 7


def test_a_probe_that_other_processes_disturb_is_repeated(cpu, store, monkeypatch):
    """A single thread that gets half a core is timed up to `ROUNDS` times, and the round that was disturbed least counts."""
    shares = iter([0.5, 0.5, 0.3, 0.3, 1.0, 1.0])
    monkeypatch.setattr(speed, "ROUNDS", 3)
    monkeypatch.setattr(speed, "_seconds", lambda *_: (4.0 / (share := next(shares)), share))
    found = measure_speed(KEY, cpu, store.text("speed.json"))
    assert (found.train_seconds, found.cpu_share) == (1.0, 1.0)


def test_views_make_self_supervised_training_slower_than_prediction_alone(cpu, store, monkeypatch):
    """A step of SimCLR, with two views and a backward pass, takes longer than a forward pass."""
    monkeypatch.setattr(speed, "MEASURED_SECONDS", 0.2)
    key = SpeedKey("cpu", "unet16", 0, 32, 8, "simclr", "float32")
    found = measure_speed(key, cpu, store.text("speed.json"))
    assert found.train_seconds > found.evaluate_seconds


def test_a_damaged_text_is_measured_again(cpu, store):
    """A text that cannot be read does not prevent a measurement, which replaces it."""
    text = store.text("speed.json")
    for content in ('{"[1]": [1.0, 2.', "[1, 2]", '{"[1]": [3.0, 4.0]}', '{"version": 2}', ""):
        text.write(content)
        assert measure_speed(KEY, cpu, text).train_seconds > 0
        assert json.loads(text.read())["probes"].keys() == {KEY.text}


def test_speeds_that_cannot_be_kept_are_measured(cpu, store):
    """A store without disk space, or one that is gone, does not prevent a plan."""
    store.root.rmdir()
    assert measure_speed(KEY, cpu, store.text("speed.json")).train_seconds > 0
    assert not store.root.exists()
