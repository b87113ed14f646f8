"""Which study is meant by a name on a command line."""

from pathlib import Path

from segsweep.errors import UserError
from segsweep.records.damage import INDEX, STUDY

RUNS = Path("runs")  # whose studies are meant where a name is no folder
WANDB = "wandb:"


def study_folders(runs: Path = RUNS) -> list[Path]:
    """Return the folders of all studies below a folder, by name."""
    return sorted({file.parent for name in (STUDY, INDEX) for file in runs.glob(f"*/{name}")})


def find_study(named: str | Path) -> Path:
    """Return the folder of the study that is meant by a folder, or by a name in `runs/`; a project in W&B stays as it is.

    Raises `UserError`, with the studies that there are, where there is none.
    """
    if str(named).startswith(WANDB):
        return Path(named)
    for folder in (Path(named), RUNS / named):
        if (folder / STUDY).is_file() or (folder / INDEX).is_file():
            return folder
    names = [folder.name for folder in study_folders()]
    known = f"{RUNS}/ holds {', '.join(names)}" if names else f"{RUNS}/ holds none"
    what = "no such folder" if not Path(named).is_dir() else f"no {STUDY} in it"
    raise UserError(f"{named}: holds no study ({what}); name a study's folder, or one in {RUNS}/: {known}")
