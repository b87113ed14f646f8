"""Parts: what has ended, as Parquet files that do not change any more; and the index, which lists them with their checksums.

`index.jsonl` is append-only, each line with its checksum and on disk before anything depends on it. Its lines are `study` (whose
records these are), `part` (a part's tables with their checksums, and the ids of the trials and stages that it holds), `aside` (a
part that was damaged and does not count any more), `plan` (the checksum of a `plan.parquet`, before it is there), `planned` (it
is there), `unplanned` (it was damaged), and `choices` (how many lines `choices.jsonl` has by now). Each part also holds its own
line, `part.json`, so that the index can be written anew.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from segsweep.files import sync
from segsweep.records.checked import ChecksumError, Row, crc32, parsed, with_checksum
from segsweep.records.damage import INDEX, STUDY, DamagedRecordsError, unreadable
from segsweep.records.lines import ANEW, append_line, read_declaration, read_lines, replace_text
from segsweep.records.schema import TABLES, task_tables
from segsweep.records.tables import frame, to_arrow

PLAN, CHOICES, PARTS, OWN = "plan.parquet", "choices.jsonl", "parts", "part.json"  # in a study's folder


@dataclass(frozen=True)
class Part:
    """A part as it is listed: the checksums of its tables, and the ids of the trials and stages that it holds.

    A part of an earlier version has neither until the next start of its study lists it. Of one that was damaged and does not
    count any more (`is_damaged`), the ids are known: what parts before it hold of them is outdated all the same.
    """

    folder: Path
    tables: Mapping[str, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    is_damaged: bool = False
    last_start: int = 0  # the highest `start_number` in it

    @property
    def name(self) -> str:
        """The part's number, of six digits."""
        return self.folder.name

    @property
    def row(self) -> Row:
        """The part as a line of the index."""
        tables = {} if self.is_damaged else {"tables": dict(self.tables)}
        return {
            "kind": "aside" if self.is_damaged else "part",
            "part": self.name,
            **tables,
            "ids": list(self.ids),
            "last_start": self.last_start,
        }

    def read(self, table: str) -> pa.Table:
        """Return one table, its bytes checked; an empty one where the part is older than the table.

        Raises `DamagedRecordsError`.
        """
        content = self.content(table)
        return to_arrow(frame(table, [])) if content is None else parquet(self.folder / f"{table}.parquet", content)

    def content(self, table: str) -> pa.Buffer | None:
        """Return the bytes of one table, checked; None where the part is older than the table. Raises `DamagedRecordsError`."""
        path = self.folder / f"{table}.parquet"
        if self.tables and table not in self.tables:
            return None
        try:
            with pa.memory_map(str(path)) as mapped:
                content = mapped.read_buffer()
        except FileNotFoundError:
            if not self.tables and self.folder.is_dir():
                return None
            raise DamagedRecordsError(path, "is missing") from None
        except OSError as error:
            if error.errno is None:  # Arrow's own, of a folder in the file's place
                raise DamagedRecordsError(path, f"cannot be read ({_first_line(error)})") from None
            raise unreadable(path, error) from error
        except pa.ArrowException as error:  # an empty file too
            raise DamagedRecordsError(path, f"cannot be read ({_first_line(error)})") from None
        if self.tables and crc32(content) != self.tables[table]:
            raise DamagedRecordsError(path, "is damaged (its checksum does not fit)")
        return content


@dataclass(frozen=True)
class Index:
    """What the index lists: the parts that count, the checksums of every plan, and whose records they are (empty: unknown)."""

    parts: Mapping[str, Part] = field(default_factory=dict)
    plans: frozenset[str] = frozenset()
    planned: bool = False  # a plan has been written: it must be there
    study: Mapping[str, Any] = field(default_factory=dict)
    choices: int = 0  # lines that the file of choices has at least


def parquet(path: Path, content: Any) -> pa.Table:
    """Return the table in a Parquet file's bytes. Raises `DamagedRecordsError` where there is none."""
    try:
        with ParquetFile(pa.BufferReader(content)) as file:
            return file.read(use_threads=False)
    except Exception as error:  # whatever Arrow raises of bytes that have no checksum
        raise DamagedRecordsError(path, f"is damaged ({_first_line(error)})") from None


def read_index(folder: Path) -> Index:
    """Return what a study's index lists, nothing where its records are of a version that had none.

    Raises `DamagedRecordsError` where the index is damaged, or missing though the study has one.
    """
    path = folder / INDEX
    if not path.is_file() and (folder / STUDY).is_file() and read_declaration(folder)[1]:
        raise DamagedRecordsError(path, "is missing")
    return index_of(folder, read_lines(path))


def index_of(folder: Path, lines: Sequence[Row]) -> Index:
    """Return what lines of an index say; later ones count. Raises `DamagedRecordsError` for lines that are none of an index."""
    try:
        return _index_of(folder, lines)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedRecordsError(folder / INDEX, f"is damaged ({type(error).__name__}: {error})") from None


def _index_of(folder: Path, lines: Sequence[Row]) -> Index:
    parts: dict[str, Part] = {}
    plans: set[str] = set()
    study: Row = {}
    planned, choices = False, 0
    for line in lines:
        match line["kind"]:
            case "part" | "aside":
                part_folder = folder / PARTS / line["part"]
                parts[line["part"]] = _part(part_folder, line)
            case "plan":
                plans = {*plans, line["sum"]}
            case "planned":
                planned = True
            case "unplanned":
                plans, planned = set(), False
            case "choices":
                choices = line["count"]
            case "study":
                study = line
    return Index(parts, frozenset(plans), planned, study, choices)


def parts_of(folder: Path, index: Index) -> list[Part]:
    """Return a study's parts by their numbers: those that are listed, and those that lie there and are not listed yet."""
    folders = {path.name: path for path in (folder / PARTS).glob("*") if path.name.isdigit()}
    unlisted = {name: line_in_part(folders[name]) or Part(folders[name]) for name in set(folders) - set(index.parts)}
    return [part for _, part in sorted({**unlisted, **index.parts}.items())]


def line_in_part(part: Path) -> Part | None:
    """Return what a part says of itself, None where it does not or that is damaged."""
    try:
        row = parsed((part / OWN).read_bytes())
    except (OSError, ChecksumError):
        return None
    return _part(part, row)


def _part(folder: Path, row: Row) -> Part:
    """Return the part that a line of the index says."""
    return Part(folder, row.get("tables", {}), tuple(row["ids"]), row["kind"] == "aside", row["last_start"])


def write_part(folder: Path, number: int, tables: Mapping[str, pd.DataFrame]) -> Part:
    """Write tables as a part: a folder that appears by one rename, whole and on disk."""
    parts = folder / PARTS
    temporary, final = parts / f"{number:06d}.tmp", parts / f"{number:06d}"
    rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for table, data in tables.items():
        data.to_parquet(temporary / f"{table}.parquet")
    part = as_found(temporary, final)
    (temporary / OWN).write_bytes(with_checksum(part.row))
    for path in (*temporary.iterdir(), temporary):
        sync(path)
    temporary.rename(final)
    sync(parts)
    return part


def as_found(found_in: Path, final: Path | None = None) -> Part:
    """Return a part with the checksums and ids of the tables that lie in a folder, as if in `final`.

    Raises `DamagedRecordsError` for a table that cannot be read.
    """
    sums = {table: crc32(path.read_bytes()) for table in TABLES if (path := found_in / f"{table}.parquet").is_file()}
    tables = {table: Part(found_in).read(table) for table in sums}
    ids, last_start = [], 0
    for table, known in task_tables().items():
        if table not in tables:
            continue
        ids += [str(each) for each in tables[table][known.identity].to_pylist()]
        starts = tables[table]["start_number"].to_pylist() if "start_number" in tables[table].column_names else []
        last_start = max((last_start, *(number for number in starts if number is not None)))
    return Part(final or found_in, sums, tuple(ids), last_start=last_start)


def read_plan(folder: Path, index: Index) -> pd.DataFrame | None:
    """Return the plan of a study, None where it has none yet. Raises `DamagedRecordsError`."""
    path = folder / PLAN
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if index.planned:
            raise DamagedRecordsError(path, "is missing", ANEW) from None
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    if index.plans and crc32(content) not in index.plans:  # a plan that has just appeared is in the index by now
        index = read_index(folder)
    if index.plans and crc32(content) not in index.plans:
        raise DamagedRecordsError(path, "is damaged (its checksum does not fit)", ANEW)
    data: pd.DataFrame = parquet(path, content).to_pandas()
    return data


def read_choices(folder: Path, index: Index) -> list[Row]:
    """Return what cells have chosen. Raises `DamagedRecordsError`, also where lines are missing at the end."""
    path = folder / CHOICES
    choices = read_lines(path)
    if len(choices) < index.choices and len(choices) < read_index(folder).choices:  # a start, which chooses anew, says so first
        raise DamagedRecordsError(path, f"has {len(choices)} lines instead of {index.choices}", ANEW)
    if not all({"cell", "chosen", "confirm"} <= choice.keys() for choice in choices):
        raise DamagedRecordsError(path, "is damaged (it holds other lines than choices)", ANEW)
    return choices


def forget_choices(folder: Path, index: Index) -> None:
    """Empty the file of choices. The index says so first, where it has counted any."""
    if index.choices:
        append_line(folder / INDEX, {"kind": "choices", "count": 0}, durable=True)
    replace_text(folder / CHOICES, "")


def list_part(folder: Path, part: Part) -> None:
    """Add a part to the index, on disk before this returns."""
    append_line(folder / INDEX, part.row, durable=True)


def damages(part: Part) -> Iterator[DamagedRecordsError]:
    """Yield what is wrong with a part that counts: all of its bytes are read."""
    for table in part.tables or TABLES:
        try:
            part.content(table) if part.tables else part.read(table)
        except DamagedRecordsError as error:
            yield error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
