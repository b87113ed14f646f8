"""Predictions over time: one frame per result and one of the start, none missing or repeated after an interruption."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from segsweep.models.architectures import build_model
from segsweep.training import loop
from segsweep.training.batches import normalise
from segsweep.training.frames import Frames, save_clip
from segsweep.training.loop import start_state, train

SHOWN = 3


@pytest.fixture
def go(image_set, recipe, cpu, tmp_path):
    """Train from the checkpoint until there are `results` results; return state, results and frames."""
    whole = image_set(12, ignored=True)
    sets = [replace(whole, members=part) for part in np.split(whole.members, [8])]

    def run(results=None, folder="one", frames=True, **values):
        (tmp_path / folder).mkdir(exist_ok=True)
        checkpoint = tmp_path / folder / "last.safetensors"
        kept = Frames(tmp_path / folder, SHOWN) if frames else None
        state = start_state(build_model("unet4", 2, seed=0), recipe(**values), cpu, checkpoint)
        running = train(state, *sets, recipe(**values), seed=3, device=cpu, checkpoint=checkpoint, frames=kept)
        found = list(itertools.islice(running, results))
        running.close()
        return state, found, kept, sets[1]

    return run


def predicted(model, image_set, cpu) -> np.ndarray:
    """Return the class numbers that a model predicts for the first images, in eval mode."""
    model.eval()
    ((images, _),) = image_set.batches([np.arange(SHOWN)], cpu)
    with torch.no_grad():
        return model(normalise(images)).argmax(dim=1).numpy()


@pytest.mark.parametrize(("values", "count"), [({"epochs": 2}, 3), ({"steps": 4, "validations": 4}, 5), ({"ema": 0.5}, 4)])
def test_there_is_a_frame_of_the_start_and_of_every_result(go, cpu, values, count):
    """The first frame is the prediction of the untrained model, the last that of the trained one; there is one per result."""
    state, results, frames, val_set = go(**values)
    kept = frames.load(len(results))
    assert kept.shape == (count, SHOWN, 16, 16)
    assert kept.dtype == np.uint8
    assert np.array_equal(kept[0], predicted(build_model("unet4", 2, seed=0), val_set, cpu))
    assert np.array_equal(kept[-1], predicted(state.evaluated, val_set, cpu))
    assert not np.array_equal(kept[0], kept[-1])


@pytest.mark.parametrize("before_the_checkpoint", [False, True])
def test_no_frame_is_missing_or_repeated_after_an_interruption(go, monkeypatch, before_the_checkpoint):
    """An interrupted run, even between a frame and its checkpoint, ends with the frames of an uninterrupted run."""
    _, results, whole, _ = go(folder="whole")
    if before_the_checkpoint:
        real = loop.save_checkpoint

        def dies_at_the_second(state, path):
            if state.results == 2:
                raise KeyboardInterrupt
            real(state, path)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "save_checkpoint", dies_at_the_second)
            with pytest.raises(KeyboardInterrupt):
                go()
    else:
        go(2)
    _, again, frames, _ = go()
    assert len(again) == len(results)
    assert np.array_equal(frames.load(len(again)), whole.load(len(results)))
    assert sorted(path.name for path in frames.folder.glob("frame-*")) == [f"frame-{number}.npy" for number in range(4)]


def test_frames_change_no_number(go):
    """Training with and without frames gives the same losses, bit by bit."""
    _, with_frames, _, _ = go(folder="with")
    _, without, _, _ = go(folder="without", frames=False)
    assert [(r.train_loss, r.val_loss, r.val) for r in with_frames] == [(r.train_loss, r.val_loss, r.val) for r in without]


def test_a_clip_holds_images_masks_frames_and_times(go, tmp_path):
    """The clip of a run holds plain arrays: images, masks, frames, and the step, epoch and validation mean IoU of each frame."""
    state, results, frames, val_set = go(steps=5, validations=2)
    save_clip(tmp_path / "clip.npz", frames, val_set, state.history)
    with np.load(tmp_path / "clip.npz", allow_pickle=False) as clip:
        assert np.array_equal(clip["pictures_KHWC"], val_set.data.images[val_set.members[:SHOWN]])
        assert np.array_equal(clip["truths_KHW"], val_set.data.masks[val_set.members[:SHOWN]])
        assert np.array_equal(clip["frames_TKHW"], frames.load(2))
        assert clip["steps_T"].tolist() == [0, 2, 5]
        assert clip["epochs_T"].tolist() == [0, 1, 2]
        assert np.isnan(clip["val_mean_iou_T"][0])
        assert clip["val_mean_iou_T"][1:].tolist() == [result.val.mean_iou for result in results]
