"""A study of a minute for clusters, as a script in a shared folder, and checks of its records."""

import runpy
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import segsweep
from segsweep.records import load
from segsweep.records.study_records import Records

EPOCHS, SOURCE_EPOCHS = 6, 12
PAUSE = "SMALL_STUDY_PAUSE"  # seconds that each step of a trial waits, so that a study lasts long enough on a fast machine
SCRIPT = """
from segsweep import LogUniform, Loss, Study, Target, main


def paused(logits, mask):
    import os, time
    from torch.nn.functional import cross_entropy

    time.sleep(float(os.environ.get("SMALL_STUDY_PAUSE", "0")))
    return cross_entropy(logits, mask.long(), ignore_index=255)


study = Study(
    name="small",
    target=Target("folder:{target}"),
    compare={{"source": ["random", "supervised:folder:{source}"]}},
    tune={{"learning_rate": LogUniform(1e-4, 1e-2)}},
    fixed={{
        "architecture": "unet16",
        "image_px": 32,
        "epochs": {epochs},
        "source_epochs": {source_epochs},
        "batch_size": 8,
        "loss": Loss("paused", paused),
    }},
    trials_per_cell=2,
    seeds=2,
)

if __name__ == "__main__":
    main(study)
"""
MEASURED = ["train_loss", "val_loss", "val_iou", "test_iou", "test_loss", "source_hash"]


@dataclass(frozen=True)
class SmallStudy:
    """The script `study.py` in its own folder; every start uses the same `runs` and `store` there."""

    folder: Path

    @property
    def script(self) -> Path:
        return self.folder / "study.py"

    def epochs(self) -> int:
        """Return the number of epochs of trials that are recorded so far."""
        files = [*(self.folder / "runs" / "small").rglob("*.jsonl")]
        return sum(_lines(path).count('"kind": "epoch"') for path in files)

    def finished(self) -> dict[str, int]:
        """Return the ids of the finished trials, with the number of their starts."""
        try:
            trials = load(self.folder / "runs" / "small").trials
        except (segsweep.UserError, FileNotFoundError):
            return {}
        done = trials[trials["status"] == "finished"]
        return dict(zip(done["trial_id"], done["starts"], strict=True))


def _lines(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # gathered meanwhile
        return ""


def make_study(folder: Path, target: Path, source: Path) -> SmallStudy:
    """Write the study's script; its data is copied once to a shared folder."""
    folder.mkdir()
    data = [folder.parent / path.name for path in (target, source)]
    for path, copy in zip((target, source), data, strict=True):
        if not copy.exists():
            shutil.copytree(path, copy)
    study = SmallStudy(folder)
    study.script.write_text(SCRIPT.format(target=data[0], source=data[1], epochs=EPOCHS, source_epochs=SOURCE_EPOCHS))
    return study


def undisturbed(study: SmallStudy, folder: Path) -> pd.DataFrame:
    """Return the measures of the study's trials in one process, without Ray and without disturbances."""
    space = runpy.run_path(str(study.script), run_name="study")
    return measured(segsweep.run(space["study"], out=folder / "runs", runner="inline", threads=1))


def measured(records: Records) -> pd.DataFrame:
    return records.trials.set_index("trial_id").sort_index()[MEASURED]


def assert_whole(study: SmallStudy, expected: pd.DataFrame, finished: dict[str, int] | None = None) -> None:
    """Check that a study has finished with the numbers of an undisturbed one, that no epoch was recorded twice, and that trials
    which were `finished` before a disturbance were not started again."""
    records = load(study.folder / "runs" / "small")
    assert set(records.trials["status"]) == {"finished"}
    pd.testing.assert_frame_equal(measured(records), expected, check_exact=True)
    counts = records.epochs.groupby(["phase", "trial_id"])["epoch"].agg(list)
    for (phase, _), found in counts.items():
        assert found == list(range(1, (SOURCE_EPOCHS if phase == "stage" else EPOCHS) + 1))
    starts = dict(zip(records.trials["trial_id"], records.trials["starts"], strict=True))
    assert {trial: starts[trial] for trial in finished or {}} == (finished or {})
