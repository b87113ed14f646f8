"""Copies of a finished study, for tests that change it."""

import shutil
from pathlib import Path

from segsweep.records.lines import read_study, write_object


def copy_of_study(folder: Path, to: Path) -> Path:
    """Copy a folder of `runs/tiny` and `store`. The copy names its own store, so that nothing of it writes into the first one."""
    copy = Path(shutil.copytree(folder, to))
    declared = copy / "runs" / "tiny" / "study.json"
    write_object(declared, {**read_study(declared.parent), "store": str(copy / "store")})
    return copy
