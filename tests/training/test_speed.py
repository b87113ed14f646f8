import json

import pytest

from segsweep.training.speed import measure_speed


@pytest.mark.parametrize(("model", "policy"), [("unet16", "none"), ("unet16", "encoder"), ("resnet18", "simclr")])
def test_a_speed_is_measured_once(model, policy, cpu, tmp_path):
    """Pictures a second of training and prediction are positive, and the file remembers them for the next time."""
    cache = tmp_path / "speed.json"
    measured = measure_speed(model, 2, 32, 4, policy, "float32", cpu, cache)
    assert min(measured) > 0
    cache.write_text(json.dumps({key: [7.0, 9.0] for key in json.loads(cache.read_text())}))
    assert measure_speed(model, 2, 32, 4, policy, "float32", cpu, cache) == (7.0, 9.0)


def test_views_make_self_supervised_training_slower_than_prediction_alone(cpu, tmp_path):
    """A step of SimCLR, with its two views and its backward pass, takes longer than the forward pass."""
    train_speed, predict_speed = measure_speed("unet16", 0, 32, 8, "simclr", "float32", cpu, tmp_path / "speed.json")
    assert train_speed < predict_speed
