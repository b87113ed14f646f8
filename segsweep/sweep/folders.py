"""The locations of a study's records, artifacts and data."""

from dataclasses import dataclass, replace
from pathlib import Path

from segsweep.config.study import Study
from segsweep.data.table import DataRoots
from segsweep.errors import UserError
from segsweep.store.opening import open_store
from segsweep.store.protocol import Store

STORE_BESIDE = "store"
JOB_HOME = "segsweep"  # below the home folder; relative paths of a Ray job start here, as Ray deletes the job's own folder


@dataclass(frozen=True)
class Folders:
    """The locations of a study's records (`out`), artifacts (`store`) and data (`roots`).

    `max_images` limits the images of every split, for a rehearsal. `fork_of` is the folder of another study, from whose
    records a study without its own starts.
    """

    out: Path
    store: Store
    roots: DataRoots
    max_images: int | None = None
    fork_of: Path | None = None

    @classmethod
    def make(cls, out: str | Path = "runs", store: str | Path | None = None, data: list[str] | None = None) -> "Folders":
        """Return the folders for the values of `--out`, `--store` and `--data`. The default store is beside `out`."""
        folder = absolute(out)
        kept = open_store(folder.parent / STORE_BESIDE if store is None else absolute(store))
        return cls(folder, kept, DataRoots.parse(data or []))

    def study_folder(self, study: Study) -> Path:
        """Return the folder of a study's records."""
        return self.out / study.name

    def forked(self, study: Study, name: str) -> tuple["Folders", Study]:
        """Return the folders and the study of a variant `name` that starts from the records of `study`."""
        if name == study.name:
            raise UserError(f"--fork {name}: is the name of the study itself; give the variant another name")
        return replace(self, fork_of=self.study_folder(study)), replace(study, name=name)


def absolute(path: str | Path) -> Path:
    """Return an absolute path. In a Ray job that was submitted with a working folder, relative paths are below `~/segsweep`."""
    is_temporary = "working_dir_files" in Path.cwd().parts
    return (Path.home() / JOB_HOME if is_temporary else Path.cwd()) / Path(path).expanduser()
