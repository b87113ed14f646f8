"""The cost of predictions over time for a run: its training seconds with and without them, alternating. It never fails:

pytest -m slow tests/benchmarks/test_clip_cost.py -s
"""

import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from segsweep.config.settings import Settings
from segsweep.data.prepare import DataSpec, prepare
from segsweep.data.scenes import Generated
from segsweep.models.architectures import build_model
from segsweep.report.clips import Clip, draw_frames
from segsweep.store.folder import FolderStore
from segsweep.training.batches import ImageSet
from segsweep.training.device import Device
from segsweep.training.frames import Frames, save_clip
from segsweep.training.loop import start_state, train
from segsweep.training.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHOWN, TIMES, EPOCHS = 4, 5, 2
SETTINGS = {"architecture": "unet-mobilenet_v2", "image_px": 96, "batch_size": 8, "precision": "float32"}


def test_training_with_a_clip(tmp_path: Path) -> None:
    """Measure epochs of a few dozen steps with a frame each, and the same epochs without; the ratio is of the medians."""
    data = prepare(DataSpec(Generated("generated_near"), None, 96), FolderStore(tmp_path / "store"), lambda *_: None)
    sets = [ImageSet(data, part) for part in np.split(np.arange(320), [240])]  # 30 steps and 80 validation images per epoch
    recipe = Recipe.of(Settings.build(**SETTINGS, epochs=EPOCHS).model_dump())
    found: dict[bool, list[float]] = {False: [], True: []}
    device = Device("cpu", 1)
    for turn in range(TIMES + 1):
        for clip in (False, True) if turn % 2 else (True, False):
            folder = tmp_path / f"{turn} {clip}"
            folder.mkdir()
            state = start_state(build_model("unet-mobilenet_v2", 2, seed=0), recipe, device, folder / "last.safetensors")
            frames = Frames(folder, SHOWN) if clip else None
            start = time.perf_counter()
            list(train(state, *sets, recipe, seed=0, device=device, checkpoint=folder / "last.safetensors", frames=frames))
            found[clip].append(time.perf_counter() - start)
    without, with_clip = (median(found[clip][1:]) for clip in (False, True))  # the first turn warms up
    print(f"\n{EPOCHS} epochs of 30 steps, {SHOWN} images: {without:.2f} s without, {with_clip:.2f} s with a clip, ", end="")
    print(f"ratio {with_clip / without:.4f}")
    for clip, name in ((False, "without"), (True, "with")):
        print(f"  {name}: {' '.join(f'{seconds:.2f}' for seconds in found[clip][1:])}")
    start = time.perf_counter()
    save_clip(tmp_path / "clip.npz", frames_of(tmp_path), sets[1].first(SHOWN), state.history)
    kept = time.perf_counter() - start
    start, shown = time.perf_counter(), data.images[sets[1].members[:SHOWN]]
    masks = np.zeros((EPOCHS + 1, *shown.shape[:3]), dtype=np.uint8)
    clip = Clip(shown, masks[0], masks, ["background", "figure"], "cell", [""] * (EPOCHS + 1))
    for number, frame in enumerate(draw_frames(clip)):
        frame.save(tmp_path / f"{number}.png", compress_level=1)
    drawn = (time.perf_counter() - start) / (EPOCHS + 1)
    print(f"  kept at the end in {kept:.3f} s; drawn after the study, by the driver, in {drawn:.3f} s a frame")
    assert without > 0


def frames_of(folder: Path) -> Frames:
    """Return the frames of the last run with a clip."""
    return Frames(folder / f"{TIMES} True", SHOWN)
