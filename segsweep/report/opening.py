"""The study that a notebook opens: the one that it is about, or its demo."""

from pathlib import Path

from segsweep.errors import UserError
from segsweep.records.damage import STUDY

PLACES = (Path("runs"), Path("../runs"))  # seen from the project, and from the folder of the notebooks


def study_or_demo(name: str) -> Path:
    """Return the folder of a study in `runs/`, or of its demo if only that has run.

    `runs/` is searched for in the current folder and in the one above. Raises `UserError`, which names the command that runs the
    demo, if there is neither.
    """
    for folder in (runs / each for each in (name, f"{name}_demo") for runs in PLACES):
        if (folder / STUDY).is_file():
            return folder
    raise UserError(f"runs/ holds neither {name} nor {name}_demo; run it first, for example: python sweeps/{name}.py --demo")
