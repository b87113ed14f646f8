"""A plain PyTorch training of a U-Net on Oxford-IIIT Pet, pet against background. It shares no code with segsweep.

    python tests/benchmarks/plain_pets.py FOLDER < job.json

FOLDER is the official one, with `images/` and `annotations/trimaps/`. The job holds `names`, the images of `train`, `val` and
`test`, and the settings `seeds`, `image_px`, `epochs`, `batch_size`, `learning_rate`. Printed is one JSON list with a row per
seed: the IoU of the pet on `val` and `test` with the weights of the epoch with the best validation IoU, and `seconds`.
"""

import copy
import json
import sys
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
BACKGROUND = 2  # in a trimap; 1 is the pet and 3 its border


def read(folder: Path, names: list[str], side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return normalised images (N, 3, side, side) and masks (N, side, side) of 0 and 1."""
    images, masks = [], []
    for name in names:
        image = Image.open(folder / "images" / f"{name}.jpg").convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        trimap = Image.open(folder / "annotations" / "trimaps" / f"{name}.png").resize((side, side), Image.Resampling.NEAREST)
        images.append(torch.from_numpy(np.array(image)) / 255)
        masks.append(torch.from_numpy((np.array(trimap) != BACKGROUND).astype(np.int64)))
    return ((torch.stack(images) - MEAN) / STD).permute(0, 3, 1, 2).contiguous(), torch.stack(masks)


@torch.no_grad()
def iou(model: torch.nn.Module, images: torch.Tensor, masks: torch.Tensor, batch_size: int) -> float:
    """Return the IoU of the pet over all pixels of all images."""
    model.eval()
    predicted = torch.cat([model(batch).argmax(1) for batch in images.split(batch_size)])
    return float(((predicted == 1) & (masks == 1)).sum() / ((predicted == 1) | (masks == 1)).sum())


def train(data: dict[str, tuple[torch.Tensor, torch.Tensor]], seed: int, job: dict) -> dict:
    """Train one model from random weights and test it once."""
    start, best, kept = time.perf_counter(), -1.0, {}
    torch.manual_seed(seed)
    model = smp.Unet("resnet18", encoder_weights=None, classes=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=job["learning_rate"])
    images, masks = data["train"]
    for _ in range(job["epochs"]):
        model.train()
        for chosen in torch.randperm(len(images)).split(job["batch_size"]):
            batch, truth = images[chosen], masks[chosen]
            mirrored = torch.rand(len(batch)) < 0.5
            batch[mirrored], truth[mirrored] = batch[mirrored].flip(-1), truth[mirrored].flip(-1)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch), truth).backward()
            optimizer.step()
        if (found := iou(model, *data["val"], job["batch_size"])) > best:
            best, kept = found, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    test = iou(model, *data["test"], job["batch_size"])
    return {"seed": seed, "val_iou": best, "test_iou": test, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    torch.set_num_threads(1)
    job = json.load(sys.stdin)
    data = {split: read(Path(sys.argv[1]), names, job["image_px"]) for split, names in job["names"].items()}
    print(json.dumps([train(data, seed, job) for seed in job["seeds"]]))
