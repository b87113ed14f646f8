"""Forks of a study: a variant under another name starts from the records of the study."""

from segsweep.config.study import Study
from segsweep.errors import UserError
from segsweep.records.fork import fork, identity_of, is_begun, load_origin
from segsweep.records.lines import declared, read_study
from segsweep.records.study_records import Records
from segsweep.sweep.folders import Folders


def origin_of(study: Study, folders: Folders) -> Records | None:
    """Return the records from which a fork starts; None for a study that is no fork, or already has records.

    Raises `UserError` if the study that it starts from has no records.
    """
    folder = folders.study_folder(study)
    if folders.fork_of is None:
        return None
    if is_begun(folder):
        if declared(folder) and read_study(folder).get("forked_from") != identity_of(folders.fork_of):
            raise UserError(f"--fork {study.name}: {folder} holds another study; give the variant a name that is free")
        return None
    return load_origin(folders.fork_of)


def forked_from(study: Study, folders: Folders) -> str | None:
    """Return the identity of the records from which a study was forked, also by an earlier start; None if it was not."""
    folder = folders.study_folder(study)
    before = read_study(folder).get("forked_from") if declared(folder) else None
    return before or (identity_of(folders.fork_of) if folders.fork_of is not None else None)


def begin_fork(study: Study, folders: Folders) -> list[str]:
    """Write the first records of a fork, and return a line on them; no line for a study that is no fork or has begun."""
    if (origin := origin_of(study, folders)) is None:
        return []
    fork(origin.folder, folders.study_folder(study), study.name)
    return [fork_line(origin)]


def fork_line(origin: Records) -> str:
    """Return a line that names the study from which a fork starts."""
    return f"fork of {origin.folder}: trials that both studies contain are not repeated"
