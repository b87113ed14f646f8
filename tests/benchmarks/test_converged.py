"""segsweep against a plain PyTorch script with the same settings, both trained to convergence:

SEGSWEEP_DATA=ROOT pytest -m slow tests/benchmarks/test_converged.py -s
"""

import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import pytest

import segsweep
from segsweep import Study, Target
from segsweep.data.prepared import Prepared
from segsweep.data.splits import PARTS, split_target
from segsweep.records import Records
from segsweep.store.contents import DATA
from segsweep.store.folder import FolderStore

ROOT = os.environ.get("SEGSWEEP_DATA")
SEEDS = (1, 2, 3)  # those of the confirmed runs of a study with three seeds
SETTINGS = {"image_px": 96, "epochs": 12, "batch_size": 16, "learning_rate": 1e-3}
T_995_4 = 4.604  # the 99.5 % quantile of Student's t with four degrees of freedom
LARGEST_DIFFERENCE = 0.05

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(not ROOT, reason="SEGSWEEP_DATA names no folder of real images"),
]


def pets_folder() -> Path:
    """Return the official folder of Oxford-IIIT Pet, by either of its usual names."""
    assert ROOT is not None
    return next(Path(ROOT) / name for name in ("oxford-iiit-pet", "pets") if (Path(ROOT) / name).is_dir())


def run_segsweep(out: Path) -> tuple[Records, float]:
    """Return the records of a study of one cell, and the CPU seconds that it used with one thread in this process."""
    study = Study(
        name="converged",
        target=Target("pets", classes="foreground", protocol="60-20-20"),
        compare={"source": ["random"]},
        fixed={
            **SETTINGS,
            "architecture": "unet-resnet18",
            "optimizer": "adam",
            "augmentation": "flip",
            "loss": "cross_entropy",
            "keep": "val_iou",
        },
        seeds=len(SEEDS),
    )
    start = time.process_time()
    data = [f"pets={pets_folder()}"]
    records = segsweep.run(study, data=data, out=out / "runs", store=out / "store", runner="inline", device="cpu", threads=1)
    return records, time.process_time() - start


def divided(store: FolderStore) -> tuple[dict[str, list[str]], float]:
    """Return the names of segsweep's training, validation and test images, and the pet's share of the test's pixels."""
    (folder,) = [path.parent for path in (store.root / DATA).glob("*/index.json")]
    data = Prepared.open(folder)
    split = split_target(data, "60-20-20")
    names = {part: [data.names[int(member)] for member in getattr(split, part)] for part in PARTS}
    return names, float((data.masks[split.test] == 1).mean())


def run_plain(names: dict[str, list[str]]) -> tuple[list[dict[str, float]], float]:
    """Return one row per seed of the plain script, which runs in a separate process, and the CPU seconds that it used."""
    job = json.dumps({"names": names, "seeds": SEEDS, **SETTINGS})
    command = [sys.executable, str(Path(__file__).with_name("plain_pets.py")), str(pets_folder())]
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, input=job, capture_output=True, text=True, check=True)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return json.loads(done.stdout), end.ru_utime - start.ru_utime + end.ru_stime - start.ru_stime


def test_the_plain_script_shares_no_code() -> None:
    """The plain script imports nothing from segsweep."""
    text = Path(__file__).with_name("plain_pets.py").read_text(encoding="utf-8")
    imported = {line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported == {"copy", "json", "sys", "time", "pathlib", "numpy", "segmentation_models_pytorch", "torch", "PIL"}


def test_a_converged_run_is_as_good_as_plain_pytorch(tmp_path: Path) -> None:
    """The mean test IoU over three seeds differs from the plain script's by no more than the seeds' spread explains.

    Both train the same network on the same images, but start from other random weights and draw other orders and flips, so
    single runs differ. The bound is that of Student's two-sample test with equal variances at the level of 1 %:
    t(0.995, 4) * s * sqrt(1/3 + 1/3) with the pooled standard deviation s. Two equally good programs exceed it for one choice
    of seeds in a hundred; the seeds are fixed. The bound grows with the spread, which a mistake may raise too, and was 0.09
    when it was first measured. So an absolute bound of 0.05 holds beside it, half or less of what training for 2 epochs instead
    of 12 loses, and both must be better than a prediction of the pet everywhere, by more than that bound.
    """
    records, ours_seconds = run_segsweep(tmp_path)
    ours = records.trials[records.trials["phase"] == "confirm"].sort_values("seed")
    names, pet_share = divided(FolderStore(tmp_path / "store"))
    assert sorted(names["test"]) == sorted(records.images["image"].unique())
    plain, plain_seconds = run_plain(names)
    ours_iou, plain_iou = ours["test_iou"].tolist(), [row["test_iou"] for row in plain]
    print(f"\n{len(names['train'])} training, {len(names['val'])} validation and {len(names['test'])} test images")
    print("program   seed  val IoU  test IoU  seconds")
    for seed, val, test, seconds in ours[["seed", "val_iou", "test_iou", "seconds"]].itertuples(index=False):
        print(f"segsweep  {seed:4}  {val:7.4f}  {test:8.4f}  {seconds:7.1f}")
    for row in plain:
        print(f"plain     {row['seed']:4}  {row['val_iou']:7.4f}  {row['test_iou']:8.4f}  {row['seconds']:7.1f}")
    spread = math.sqrt((stdev(ours_iou) ** 2 + stdev(plain_iou) ** 2) / 2)
    bound = T_995_4 * spread * math.sqrt(2 / 3)
    difference = mean(ours_iou) - mean(plain_iou)
    print(f"segsweep {mean(ours_iou):.4f} ±{stdev(ours_iou):.4f}, {ours_seconds:.0f} CPU seconds in all")
    print(f"plain    {mean(plain_iou):.4f} ±{stdev(plain_iou):.4f}, {plain_seconds:.0f} CPU seconds in all")
    print(f"difference {difference:+.4f}, bound {min(bound, LARGEST_DIFFERENCE):.4f}")
    assert len(ours_iou) == len(plain_iou) == len(SEEDS)
    assert abs(difference) <= min(bound, LARGEST_DIFFERENCE)
    assert (
        min(mean(ours_iou), mean(plain_iou)) > pet_share + LARGEST_DIFFERENCE
    )  # the pet's share is the IoU of predicting the pet everywhere
