"""Objects that a study file defines (dataset, architecture, loss, method), on real workers that do not import the file."""

from collections.abc import Callable

import pandas as pd
import pytest
from study_scripts import Script

from segsweep.records import load

OWN = '''
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from segsweep import Architecture, Loss, SelfSupervised, SelfSupervisedMethod, Study, Supervised, Target, main
from segsweep.data.dataset import Example
from segsweep.models.pooled import feature_channels, pooled_features
from segsweep.training.self_supervised_method import Method


@dataclass(frozen=True)
class Stripes:
    """Bright stripes on dark ground, drawn on the spot."""

    name: str
    fit = "resize"
    pool = ("train",)
    protocols = {}
    schemes = {"all": ("ground", "stripe")}

    def examples(self):
        return [Example(f"{self.name} {number}") for number in range(20)]

    def files(self):
        return []

    def revision(self):
        return f"stripes {self.name} 1"

    def read(self, example, scheme):
        start = int(example.name.split()[-1])
        mask = np.zeros((32, 32), dtype=np.uint8)
        mask[start : start + 8] = 1
        return np.repeat((mask * 150 + start)[..., None], 3, axis=2).astype(np.uint8), mask


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, images):
        return self.head(self.body(images))


def squared(logits, mask):
    return ((logits.softmax(1)[:, 1] - (mask == 1).float()) ** 2)[mask != 255].mean()


class Mirrored(Method):
    """Tell an image from its mirror image."""

    def __init__(self, encoder, recipe):
        super().__init__()
        self.network = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(feature_channels(encoder, recipe.image_px), 2)})

    def views(self, images, count, rows, chance):
        return torch.cat([images, images.flip(3)])

    def forward(self, views):
        return self.network["head"](pooled_features(self.network["encoder"], views))

    def loss(self, output, count, world):
        logits = torch.cat([world.gather_rows(half, count) for half in output.chunk(2)])
        truth = torch.arange(2, device=logits.device).repeat_interleave(count)
        return nn.functional.cross_entropy(logits, truth), torch.tensor(float("nan"))


SOURCE = Stripes("source")
MIRRORED = SelfSupervisedMethod("mirrored", Mirrored)
study = Study(
    name="tiny",
    target=Target(Stripes("target")),
    compare={
        "source": [
            "random",
            Supervised(SOURCE, limit=10),
            SelfSupervised(SOURCE, limit=10, method=MIRRORED),
        ],
        "architecture": [Architecture("net", Net, encoder="body.", classifier="head.", stride_px=1)],
    },
    fixed={"loss": Loss("squared", squared), "image_px": 32, "epochs": 2, "source_epochs": 2, "batch_size": 4},
    seeds=1,
)

if __name__ == "__main__":
    main(study)
'''


@pytest.mark.timeout(150)
def test_own_objects_reach_the_workers(script: Callable[..., Script]) -> None:
    """A study with user-defined datasets, architecture, loss and method gives the same numbers on Ray as in one process."""
    own = script()
    own.path.write_text(OWN)
    drivers = [own.start("--max-concurrent", "1"), own.start("--runner", "inline", "--out", "inline/runs")]
    for driver in drivers:
        _, errors = driver.communicate(timeout=120)
        assert driver.returncode == 0, errors
    found = load(own.records)
    inline = load(own.path.parent / "inline" / "runs" / "tiny")
    columns = ["trial_id", "train_loss", "val_loss", "test_iou", "test_loss", "source_hash"]
    assert (found.trials["status"] == "finished").all()
    assert set(found.trials["architecture"]) == {"own:net"}
    assert set(found.trials["source"]) == {"random", "supervised:own:source@10", "own:mirrored:own:source@10"}
    assert set(found.trials["loss"]) == {"own:squared"}
    pd.testing.assert_frame_equal(
        *(records.trials[columns].sort_values("trial_id", ignore_index=True) for records in (found, inline)), check_exact=True
    )
