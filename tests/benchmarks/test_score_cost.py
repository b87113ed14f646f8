"""The cost of scoring a source, beside the training of one trial, in CPU seconds of one thread:

pytest -m slow tests/benchmarks/test_score_cost.py -s
"""

import time
from pathlib import Path

import numpy as np
import pytest

from segsweep.config.settings import Settings
from segsweep.config.source import Stage
from segsweep.config.source_score import ScoreSpec
from segsweep.config.stage_settings import stage_settings
from segsweep.config.study import Target
from segsweep.config.work import StageSpec
from segsweep.context import ExecutionContext
from segsweep.data.prepare import DataSpec, prepare, prepared_key
from segsweep.data.scenes import Generated
from segsweep.models.architectures import build_model
from segsweep.source_score import score_source
from segsweep.stage import build_stage
from segsweep.store.contents import WEIGHTS
from segsweep.store.folder import FolderStore
from segsweep.training.batches import ImageSet
from segsweep.training.device import Device
from segsweep.training.loop import start_state, train
from segsweep.training.recipe import Recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS, IMAGES = 10, 300  # of the trial with which the cost is compared; one epoch of 96 images is timed
SETTINGS = {"architecture": "unet-resnet18", "image_px": 96, "batch_size": 16, "precision": "float32"}
MOST = 0.1  # share of the training of one trial that the scores of a source may take


def test_scores_cost_less_than_a_tenth_of_a_trial(tmp_path: Path) -> None:
    """Scoring a trained source, and random weights, takes less than a tenth of the CPU time in which one trial trains."""
    context = ExecutionContext(FolderStore(tmp_path / "store"), Device("cpu", 1))
    requests = [DataSpec(Generated(name), None, 96) for name in ("generated_pets", "generated_near")]
    data, _ = (prepare(request, context.store, lambda *_: None) for request in requests)
    target, source = (prepared_key(request, context.store, lambda *_: None) for request in requests)
    settings = Settings.build(**SETTINGS, source="supervised:generated_near@32", source_epochs=1)
    kind = Stage("supervised", "generated_near", 32)
    stage = StageSpec(kind, "unet-resnet18", 0, source, stage_settings(settings, kind))
    *_, built = build_stage(stage, None, context)
    artifact = context.store.open(WEIGHTS, built.artifact.key)
    pets = Target("generated_pets", protocol="70-10-20")
    seconds = {}
    for name, found, last in (("source", artifact, stage), ("random", None, None)):
        began = time.process_time()
        score_source(ScoreSpec("s", last, settings, pets, target, "largest", "random"), found, context)
        seconds[name] = time.process_time() - began
    trial = _seconds_per_image(ImageSet(data, np.arange(100)), tmp_path, context.device) * EPOCHS * IMAGES
    print(f"{trial:.1f} s to train, {seconds['source']:.1f} s to score a source, {seconds['random']:.1f} s random weights")
    assert max(seconds.values()) < MOST * trial


def _seconds_per_image(images: ImageSet, folder: Path, device: Device) -> float:
    """Return the CPU seconds of training on one image."""
    recipe = Recipe.of(Settings.build(**SETTINGS, epochs=1).model_dump())
    state = start_state(build_model("unet-resnet18", 2, 0), recipe, device, folder / "last.safetensors")
    began = time.process_time()
    sets = ImageSet(images.data, images.members[:96]), ImageSet(images.data, images.members[96:])
    list(train(state, *sets, recipe, seed=0, device=device, checkpoint=folder / "last.safetensors"))
    return (time.process_time() - began) / 96
