import json

import pytest

from segsweep.store.folder import FolderStore
from segsweep.training.speed import drop_damaged, measure_speed


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return FolderStore(tmp_path / "store")


@pytest.mark.parametrize(("model", "policy"), [("unet4", "none"), ("unet4", "encoder"), ("resnet18", "simclr")])
def test_a_speed_is_measured_once(model, policy, cpu, store):
    """Pictures a second of training and prediction are positive, and the file remembers them for the next time."""
    cache = store.root / "speed.json"
    measured = measure_speed(model, 2, 32, 4, policy, "float32", cpu, store.text("speed.json"))
    assert min(measured) > 0
    cache.write_text(json.dumps({key: [7.0, 9.0] for key in json.loads(cache.read_text())}))
    assert measure_speed(model, 2, 32, 4, policy, "float32", cpu, store.text("speed.json")) == (7.0, 9.0)


def test_views_make_self_supervised_training_slower_than_prediction_alone(cpu, store):
    """A step of SimCLR, with its two views and its backward pass, takes longer than the forward pass."""
    train_speed, predict_speed = measure_speed("unet4", 0, 32, 8, "simclr", "float32", cpu, store.text("speed.json"))
    assert train_speed < predict_speed


def test_a_cache_that_was_cut_off_is_measured_afresh_and_told(cpu, store):
    """A file of speeds that cannot be read ends nothing: it is removed with a line, and speeds are measured."""
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


def test_speeds_that_cannot_be_kept_are_measured(cpu, store):
    """A cache for which there is no space, or no store, hinders no plan."""
    store.root.rmdir()
    assert min(measure_speed("unet4", 2, 32, 2, "none", "float32", cpu, store.text("speed.json"))) > 0
    assert not store.root.exists()
