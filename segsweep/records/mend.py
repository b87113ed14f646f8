"""Repair of damaged or missing records at the start of a driver.

Damaged files are set aside and reported; trials and stages whose only record was damaged run again.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from segsweep.errors import UserError
from segsweep.files import replacing
from segsweep.records.checked import ChecksumError, Row, parsed, with_checksum
from segsweep.records.damage import INDEX, STUDY, DamagedRecordsError, copy_in_wandb, set_aside, unreadable
from segsweep.records.lines import append_line, declared, read_lines, read_study
from segsweep.records.parts import (
    CHOICES,
    PARTS,
    Index,
    Part,
    damage_in,
    forget_choices,
    index_of,
    list_part,
    part_from_files,
    parts_of,
    read_choices,
    read_index,
    read_plan,
)
from segsweep.records.schema import SCHEMA_VERSION
from segsweep.records.tables import read_live


def mend(folder: Path) -> tuple[Index, list[str]]:
    """Set aside the damaged parts of a study's records, and list parts that are not in the index.

    Return the index afterwards, and one line for each damaged file.

    Raises:
        UserError: the records are of a later version, or the declaration is damaged and nothing else identifies the study.
            Nothing has been changed then.
    """
    lines = list(_intact_lines(folder / INDEX))
    notices = [*_mend_study(folder, index_of(folder, lines)), *_mend_index(folder, lines)]
    notices += [*_mend_parts(folder), *_mend_live(folder), *_mend_plan(folder), *_mend_choices(folder)]
    return read_index(folder), notices


def next_number(folder: Path, index: Index) -> int:
    """Return the number for the next part."""
    names = (path.name.removesuffix(".tmp") for path in (folder / PARTS).iterdir() if path.name.isdigit())
    return max((int(name) for name in (*names, *index.parts)), default=0) + 1


def _intact_lines(path: Path) -> Iterator[Row]:
    """Yield the undamaged lines of the index."""
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise unreadable(path, error) from error
    for line in content.split(b"\n"):
        try:
            row = parsed(line)
            index_of(path.parent, [row])
        except (ChecksumError, DamagedRecordsError):
            continue
        yield row


def _mend_study(folder: Path, index: Index) -> Iterator[str]:
    """Set a damaged declaration aside; the driver rewrites it with the identity that the index keeps."""
    try:
        if (folder / STUDY).exists():
            read_study(folder)
        elif index.study:
            yield f"{folder / STUDY}: is missing; rewritten"
    except DamagedRecordsError as error:
        if not index.study:
            raise
        if index.study["schema_version"] > SCHEMA_VERSION:
            raise UserError(f"{folder}: records are of a later version of segsweep than this one; update it") from None
        yield f"{error.file}: {error.reason}; moved to {set_aside(folder, folder / STUDY)}, and rewritten"


def _mend_index(folder: Path, lines: list[Row]) -> Iterator[str]:
    """Rewrite a damaged index from its undamaged lines; parts that these do not list are listed afterwards."""
    path = folder / INDEX
    try:
        read_index(folder)
    except DamagedRecordsError as error:
        if path.is_dir():
            set_aside(folder, path)
        with replacing(path) as temporary:
            temporary.write_bytes(b"".join(with_checksum(line) + b"\n" for line in lines))
        yield f"{error.file}: {error.reason}; rewritten from the existing parts"


def _mend_parts(folder: Path) -> Iterator[str]:
    """List parts that are not in the index, and set damaged parts aside."""
    index = read_index(folder)
    parts = [part for part in parts_of(folder, index) if not part.is_damaged]
    live = {path.stem for path in (folder / "live").glob("*.jsonl")}
    for part in parts:
        wrong = next(damage_in(part), None)
        if wrong is None:
            if part.name not in index.parts:
                list_part(folder, part if part.tables else part_from_files(part.folder))
            continue
        moved = f"moved to {set_aside(folder, part.folder)}; " if part.folder.exists() else ""
        list_part(folder, replace(part, is_damaged=True))
        elsewhere = live.union(*(other.ids for other in parts if other.name > part.name))
        yield f"{wrong.file}: {wrong.reason}; {moved}{_runs_again(len(set(part.ids) - elsewhere), part.folder)}"


def _runs_again(count: int, file: Path) -> str:
    """Return the consequence of lost records as text: which tasks run again, and where a copy of the records is."""
    copy = copy_in_wandb(file)
    kept = f" (W&B has a copy: load({copy!r}))" if copy else ""
    return f"the {count} trials and stages that only it held run again; stages are still in the store{kept}"


def _mend_live(folder: Path) -> Iterator[str]:
    """Set damaged lines aside; their task resumes from its checkpoint, or restarts."""
    for path in sorted((folder / "live").glob("*.jsonl")):
        try:
            read_live(path)
        except DamagedRecordsError as error:
            moved = set_aside(folder, path)
            number = next_number(folder, read_index(folder))
            list_part(folder, Part(folder / PARTS / f"{number:06d}", ids=(path.stem,), is_damaged=True))
            yield f"{error.file}: {error.reason}; moved to {moved}; it resumes from its checkpoint, or runs again"


def _mend_plan(folder: Path) -> Iterator[str]:
    """Set a damaged plan aside; the driver rewrites it."""
    try:
        read_plan(folder, read_index(folder))
    except DamagedRecordsError as error:
        moved = f"moved to {set_aside(folder, error.file)}, and " if error.file.exists() else ""
        append_line(folder / INDEX, {"kind": "unplanned"}, durable=True)
        yield f"{error.file}: {error.reason}; {moved}rewritten"


def _mend_choices(folder: Path) -> Iterator[str]:
    """Set damaged choices aside; the driver chooses again."""
    path, missing = folder / CHOICES, declared(folder)
    index = read_index(folder)
    if path.exists() or not missing:
        try:
            read_choices(folder, index)
        except DamagedRecordsError as error:
            yield f"{error.file}: {error.reason}; moved to {set_aside(folder, path)}, and rewritten"
            missing = False
    if not path.exists():
        if missing:
            yield f"{path}: is missing; rewritten"
        forget_choices(folder, index)


def begin_index(folder: Path, study: Row) -> None:
    """Write the identity of the study to the index, unless it is there. The index is on disk before the declaration."""
    if not index_of(folder, read_lines(folder / INDEX)).study:
        identity = {name: study[name] for name in ("schema_version", "name", "records_id")}
        append_line(folder / INDEX, {"kind": "study", **identity}, durable=True)
