"""The folders of a study: for its records, for artifacts, and with data."""

from dataclasses import dataclass
from pathlib import Path

from segsweep.config.study import Study
from segsweep.data.table import DataRoots
from segsweep.store.opening import open_store
from segsweep.store.protocol import Store

STORE_BESIDE = "store"
JOB_HOME = "segsweep"  # below the home folder: what relative paths are relative to in a Ray job, whose own folder is thrown away


@dataclass(frozen=True)
class Folders:
    """The folders of a study: for records, artifacts and data."""

    out: Path
    store: Store
    roots: DataRoots
    max_images: int | None = None

    @classmethod
    def make(cls, out: str | Path = "runs", store: str | Path | None = None, data: list[str] | None = None) -> "Folders":
        """Return the setting that the command line's words mean. The store lies beside `out` unless it is given."""
        folder = absolute(out)
        kept = open_store(folder.parent / STORE_BESIDE if store is None else absolute(store))
        return cls(folder, kept, DataRoots.parse(data or []))

    def study_folder(self, study: Study) -> Path:
        """Return the folder of a study's records."""
        return self.out / study.name


def absolute(path: str | Path) -> Path:
    """Return an absolute path. In a Ray job with a working folder of its own, relative ones lie below the home folder."""
    thrown_away = "working_dir_files" in Path.cwd().parts
    return (Path.home() / JOB_HOME if thrown_away else Path.cwd()) / Path(path).expanduser()
