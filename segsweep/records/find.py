"""Find the study that a command line names."""

from pathlib import Path

from segsweep.errors import UserError
from segsweep.records.damage import INDEX, STUDY

RUNS = Path("runs")  # searched for a name that is not a folder
WANDB = "wandb:"


def study_folders(runs: Path = RUNS) -> list[Path]:
    """Return the folders of all studies in a folder, sorted by name."""
    return sorted({file.parent for name in (STUDY, INDEX) for file in runs.glob(f"*/{name}")})


def find_study(named: str | Path) -> Path:
    """Return the folder of a study, given the folder or a name in `runs/`. A W&B address is returned unchanged.

    Raises `UserError`, which lists the existing studies, if there is no such study.
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
