import json

import pytest

from segsweep.store.folder import FolderStore
from segsweep.training import speed
from segsweep.training.speed import drop_damaged, measure_speed


@pytest.fixture
def store(tmp_path):
    """Return an empty store."""
    return FolderStore(tmp_path / "store")


@pytest.mark.parametrize(("model", "policy"), [("unet4", "none"), ("unet4", "encoder"), ("resnet18", "simclr")])
def test_a_speed_is_measured_once(model, policy, cpu, store):
    """Images per second of training and prediction are positive, and the cache returns them the next time."""
    cache = store.root / "speed.json"
    measured = measure_speed(model, 2, 32, 4, policy, "float32", cpu, store.text("speed.json"))
    assert min(measured) > 0
    cache.write_text(json.dumps({key: [7.0, 9.0] for key in json.loads(cache.read_text())}))
    assert measure_speed(model, 2, 32, 4, policy, "float32", cpu, store.text("speed.json")) == (7.0, 9.0)


def test_views_make_self_supervised_training_slower_than_prediction_alone(cpu, store, monkeypatch):
    """A step of SimCLR, with two views and a backward pass, takes longer than a forward pass."""
    monkeypatch.setattr(speed, "MEASURED_SECONDS", 0.2)
    train_speed, predict_speed = measure_speed("unet16", 0, 32, 8, "simclr", "float32", cpu, store.text("speed.json"))
    assert train_speed < predict_speed


def test_a_damaged_cache_is_measured_again_and_reported(cpu, store):
    """A file of speeds that cannot be read does not end the run: it is removed with a line, and speeds are measured again."""
    cache = store.root / "speed.json"
    for content in ('{"[1]": [1.0, 2.', "[1, 2]", '{"[1]": 3}', ""):
        cache.write_text(content)
        values = ("unet4", 2, 32, 2, "none", "float32", cpu, store.text("speed.json"))
        assert min(measure_speed(*values)) > 0
        cache.write_text(content)
        assert drop_damaged(store.text("speed.json")) == f"{cache}: unreadable; speeds are measured again"
        assert not cache.exists()
    assert drop_damaged(store.text("speed.json")) is None
    measure_speed(*values)
    assert drop_damaged(store.text("speed.json")) is None
    assert len(json.loads(cache.read_text())) == 1


def test_speeds_that_cannot_be_cached_are_measured(cpu, store):
    """A cache without disk space, or without a store, does not prevent a plan."""
    store.root.rmdir()
    assert min(measure_speed("unet4", 2, 32, 2, "none", "float32", cpu, store.text("speed.json"))) > 0
    assert not store.root.exists()
