"""Verification of every byte of a study's records."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from segsweep.records.checked import ChecksumError, parsed
from segsweep.records.damage import INDEX, DamagedRecordsError
from segsweep.records.lines import REWRITE, read_declaration
from segsweep.records.parts import CHOICES, OWN, Index, Part, damage_in, parts_of, read_choices, read_index, read_plan
from segsweep.records.tables import read_live


def damaged_records(folder: Path) -> list[DamagedRecordsError]:
    """Return an error for each damaged or missing file in a study's folder, naming the file and the remedy.

    Raises `UserError` for records of a later version.
    """
    return list(_found(folder))


def _found(folder: Path) -> Iterator[DamagedRecordsError]:
    checked, index = False, Index()
    try:
        checked = read_declaration(folder)[1]
    except DamagedRecordsError as error:
        yield error
    try:
        index = read_index(folder)
    except DamagedRecordsError as error:
        if error.file == folder / INDEX:
            yield error
    for part in parts_of(folder, index):
        if not part.is_damaged:
            yield from damage_in(part)
            yield from _in_part_line(part)
    checks: list[Callable[[], object]] = [partial(read_choices, folder, index), partial(read_plan, folder, index)]
    for check in checks + [partial(read_live, path) for path in sorted((folder / "live").glob("*.jsonl"))]:
        try:
            check()
        except DamagedRecordsError as error:
            yield error
    if checked and not (folder / CHOICES).is_file():
        yield DamagedRecordsError(folder / CHOICES, "is missing", REWRITE)


def _in_part_line(part: Part) -> Iterator[DamagedRecordsError]:
    """Yield an error if a part's `part.json` is damaged; parts of earlier versions have none."""
    path = part.folder / OWN
    try:
        parsed(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ChecksumError) as error:
        remedy = f"the index has the same; remove {path}"
        yield DamagedRecordsError(path, f"is damaged ({error})", remedy)
