import threading

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from segsweep.config.keep import Reading
from segsweep.models.segmentation_model import Parts, SegmentationModel
from segsweep.training import checkpoint
from segsweep.training.checkpoint import TrainingState, load_checkpoint, load_weights, save_checkpoint, save_weights


def state(seed: int = 0) -> TrainingState:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    model = SegmentationModel(network, Parts("0.", "2."))
    return TrainingState(model, torch.optim.Adam(model.parameters(), lr=0.1))


def step(of: TrainingState) -> None:
    images = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))  # a constant one has no gradient here
    of.model(images).square().sum().backward()
    of.optimizer.step()


def test_round_trip_restores_everything(tmp_path):
    """Weights, counters, best weights, optimiser slots and history are restored with equal values and dtypes."""
    kept = state()
    step(kept)
    kept.history.append({"val_loss": 0.25, "val": {"iou": float("nan"), "class_iou": [0.5, 0.1]}})
    kept.read(Reading(0.5, -0.25))
    kept.keep()
    step(kept)
    save_checkpoint(kept, tmp_path / "c")
    back = state(seed=1)
    assert load_checkpoint(back, tmp_path / "c")
    for one, other in (
        (kept.model.network.state_dict(), back.model.network.state_dict()),
        (kept.best, back.best),
        *zip(kept.optimizer.state_dict()["state"].values(), back.optimizer.state_dict()["state"].values(), strict=True),
    ):
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            assert torch.equal(tensor, other[name])
            assert tensor.dtype == other[name].dtype
    assert repr(back.history) == repr(kept.history)
    assert (back.best_reading, back.best_result, back.kept_result, back.results) == (Reading(0.5, -0.25), 1, 1, 1)
    assert isinstance(back.best_reading, Reading)
    assert not torch.equal(back.best["0.weight"], back.model.network.state_dict()["0.weight"])


def test_state_without_a_result_round_trips(tmp_path):
    """A state without a result is restored with a reading that is worse than every other."""
    save_checkpoint(state(), tmp_path / "c")
    back = state(seed=1)
    assert load_checkpoint(back, tmp_path / "c")
    assert (back.best_result, back.kept_result, back.history, back.best) == (0, 0, [], {})
    assert back.best_reading < Reading(-1e30, -1e30)


def test_best_weights_are_a_copy():
    """Later steps do not change the weights that were kept as best."""
    kept = state()
    kept.keep()
    before = {name: tensor.clone() for name, tensor in kept.best.items()}
    step(kept)
    assert all(torch.equal(before[name], tensor) for name, tensor in kept.best.items())
    assert not torch.equal(before["0.weight"], kept.model.network.state_dict()["0.weight"])


def test_missing_or_cut_checkpoint_changes_nothing(tmp_path):
    """Without a complete checkpoint, loading returns False and the state does not change."""
    path = tmp_path / "c"
    save_checkpoint(state(), path)
    whole = path.read_bytes()
    fresh = state(seed=1)
    before = {name: tensor.clone() for name, tensor in fresh.model.state_dict().items()}
    path.unlink()
    assert not load_checkpoint(fresh, path)
    assert fresh.lost_checkpoint is None
    for size in (0, 7, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert not load_checkpoint(fresh, path)
        assert fresh.lost_checkpoint == "checkpoint c is cut short, or is no checkpoint"
    assert all(torch.equal(before[name], tensor) for name, tensor in fresh.model.state_dict().items())


def test_any_flipped_bit_of_a_checkpoint_is_found_or_changes_nothing(tmp_path):
    """A checkpoint with one flipped bit is reported as lost and loads nothing, unless its content is unaffected."""
    path, kept = tmp_path / "c", state()
    step(kept)
    kept.history.append({"val_loss": 0.25})
    kept.keep()
    save_checkpoint(kept, path)
    whole = path.read_bytes()
    found = 0
    for position in range(0, 8 * len(whole), 211):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        back = state(seed=1)
        if load_checkpoint(back, path):
            assert repr(back.history) == repr(kept.history)
            assert back.kept_result == 1
            weights = back.model.network.state_dict()
            assert all(torch.equal(tensor, weights[name]) for name, tensor in kept.model.network.state_dict().items())
            assert all(torch.equal(tensor, back.best[name]) for name, tensor in kept.best.items())
        else:
            found += 1
            assert back.lost_checkpoint.startswith("checkpoint c ")
            assert torch.equal(back.model.network.state_dict()["0.weight"], state(seed=1).model.network.state_dict()["0.weight"])
    assert found > 0.95 * len(range(0, 8 * len(whole), 211))


def test_a_checkpoint_of_an_earlier_version_is_loaded(tmp_path):
    """A checkpoint without a checksum, of a trial that was interrupted before an update, still loads."""
    save_checkpoint(state(), tmp_path / "c")
    tensors, metadata = load_weights(tmp_path / "c")
    save_weights(tensors, tmp_path / "c", {"progress": metadata["progress"]})
    back = state(seed=1)
    assert load_checkpoint(back, tmp_path / "c")
    assert back.lost_checkpoint is None


def test_a_checkpoint_survives_a_power_cut(tmp_path, disk):
    """When saving returns, the new file is on disk under its name; its content was on disk before the rename."""
    save_checkpoint(state(), tmp_path / "c")
    save_checkpoint(state(seed=1), tmp_path / "c")
    assert disk.survives(tmp_path / "c") == (tmp_path / "c").read_bytes()
    assert [(target.name, synced) for _, target, synced in disk.renames] == [("c", True), ("c", True)]


def test_weights_can_be_read_by_others(tmp_path, umask):
    """Weight files have the permissions of the user's umask; safetensors alone would deny access to everyone else."""
    umask(0o027)
    save_weights({"a": torch.zeros(2)}, tmp_path / "w")
    assert oct((tmp_path / "w").stat().st_mode & 0o777) == "0o640"


def test_an_unreadable_disk_is_not_a_damaged_checkpoint(tmp_path, monkeypatch):
    """An error of the disk is raised: the checkpoint may be sound and is not discarded."""

    def fail(*_, **__):
        raise SafetensorError("Error while deserializing: I/O error: Input/output error (os error 5)")

    monkeypatch.setattr(checkpoint, "safe_open", fail)
    with pytest.raises(SafetensorError):
        load_checkpoint(state(), tmp_path / "c")


def test_reader_sees_a_whole_file_at_any_time(tmp_path):
    """While a checkpoint is replaced repeatedly, a reader never finds part of one, and no other file remains."""
    path, kept = tmp_path / "c", state()
    save_checkpoint(kept, path)
    writing = threading.Thread(target=lambda: [save_checkpoint(kept, path) for _ in range(60)])
    writing.start()
    reads = 0
    while writing.is_alive() or reads == 0:
        assert load_checkpoint(state(seed=1), path)
        reads += 1
    writing.join()
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_weights_of_any_layout_and_type_round_trip(tmp_path, dtype):
    """Transposed, channels-last and scalar tensors, and tensors with gradients, are restored with equal values and their
    metadata.
    """
    tensor = torch.arange(24).view(2, 3, 2, 2).to(dtype)
    weights = {"last": tensor.to(memory_format=torch.channels_last), "turned": tensor[0, 0].T, "one": tensor.sum()}
    if dtype.is_floating_point:
        weights["trained"] = nn.Parameter(tensor.clone())
    save_weights(weights, tmp_path / "w", {"a": "b"})
    back, metadata = load_weights(tmp_path / "w")
    assert metadata == {"a": "b"}
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) and back[name].dtype == dtype for name in weights)
