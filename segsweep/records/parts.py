"""Parts: immutable Parquet files of tasks that have ended; and the index, which lists them with their checksums.

`index.jsonl` is append-only. Each line has a checksum, and is on disk before anything depends on it. The kinds of lines:

- `study`: identity of the study.
- `part`: checksums of a part's tables, and the ids of its trials and stages.
- `aside`: a damaged part, which no longer counts.
- `plan`: checksum of a `plan.parquet`, written before the file.
- `planned`: the plan has been written.
- `unplanned`: the plan was damaged.
- `choices`: present number of lines in `choices.jsonl`.

Each part also contains its line as `part.json`, from which the index can be rebuilt.
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
from segsweep.records.lines import REWRITE, append_line, read_declaration, read_lines, replace_text
from segsweep.records.schema import TABLES, task_tables
from segsweep.records.tables import frame, to_arrow

PLAN, CHOICES, PARTS, OWN = "plan.parquet", "choices.jsonl", "parts", "part.json"  # in a study's folder


@dataclass(frozen=True)
class Part:
    """A part as the index lists it: the checksums of its tables, and the ids of its trials and stages.

    Parts of earlier versions have neither until the next start of their study lists them. A damaged part (`is_damaged`) keeps its
    ids: records of these tasks in earlier parts are outdated all the same.
    """

    folder: Path
    tables: Mapping[str, str] = field(default_factory=dict)
    ids: tuple[str, ...] = ()
    is_damaged: bool = False
    last_start: int = 0  # highest `start_number` in the part

    @property
    def name(self) -> str:
        """The part's number, as six digits."""
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
        """Return one table after checking its bytes; an empty table if the part is older than the table.

        Raises `DamagedRecordsError`.
        """
        content = self.content(table)
        return to_arrow(frame(table, [])) if content is None else parquet(self.folder / f"{table}.parquet", content)

    def content(self, table: str) -> pa.Buffer | None:
        """Return the checked bytes of one table; None if the part is older than the table. Raises `DamagedRecordsError`."""
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
            if error.errno is None:  # an error of Arrow: a folder in place of the file
                raise DamagedRecordsError(path, f"cannot be read ({_first_line(error)})") from None
            raise unreadable(path, error) from error
        except pa.ArrowException as error:  # also for an empty file
            raise DamagedRecordsError(path, f"cannot be read ({_first_line(error)})") from None
        if self.tables and crc32(content) != self.tables[table]:
            raise DamagedRecordsError(path, "is damaged (its checksum does not match)")
        return content


@dataclass(frozen=True)
class Index:
    """Content of the index: the valid parts, the checksums of all plans, and the identity of the study (empty if unknown)."""

    parts: Mapping[str, Part] = field(default_factory=dict)
    plans: frozenset[str] = frozenset()
    planned: bool = False  # a plan was written, so its file must exist
    study: Mapping[str, Any] = field(default_factory=dict)
    choices: int = 0  # least number of lines in the file of choices


def parquet(path: Path, content: Any) -> pa.Table:
    """Return the table in a Parquet file's bytes. Raises `DamagedRecordsError` if they are not a Parquet file."""
    try:
        with ParquetFile(pa.BufferReader(content)) as file:
            return file.read(use_threads=False)
    except Exception as error:  # Arrow raises many types for damaged bytes without a checksum
        raise DamagedRecordsError(path, f"is damaged ({_first_line(error)})") from None


def read_index(folder: Path) -> Index:
    """Return the content of a study's index; empty for records of a version without one.

    Raises `DamagedRecordsError` if the index is damaged, or missing although the study has one.
    """
    path = folder / INDEX
    if not path.is_file() and (folder / STUDY).is_file() and read_declaration(folder)[1]:
        raise DamagedRecordsError(path, "is missing")
    return index_of(folder, read_lines(path))


def index_of(folder: Path, lines: Sequence[Row]) -> Index:
    """Return the content of index lines, where later lines override earlier ones.

    Raises `DamagedRecordsError` for lines that do not belong to an index.
    """
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
    """Return a study's parts by number, including folders that the index does not list yet."""
    folders = {path.name: path for path in (folder / PARTS).glob("*") if path.name.isdigit()}
    unlisted = {name: line_in_part(folders[name]) or Part(folders[name]) for name in set(folders) - set(index.parts)}
    return [part for _, part in sorted({**unlisted, **index.parts}.items())]


def line_in_part(part: Path) -> Part | None:
    """Return a part from its `part.json`; None if that is missing or damaged."""
    try:
        row = parsed((part / OWN).read_bytes())
    except (OSError, ChecksumError):
        return None
    return _part(part, row)


def _part(folder: Path, row: Row) -> Part:
    """Return the part that a line of the index describes."""
    return Part(folder, row.get("tables", {}), tuple(row["ids"]), row["kind"] == "aside", row["last_start"])


def write_part(folder: Path, number: int, tables: Mapping[str, pd.DataFrame]) -> Part:
    """Write tables as a part: a folder that appears complete by one rename, after its files are on disk."""
    parts = folder / PARTS
    temporary, final = parts / f"{number:06d}.tmp", parts / f"{number:06d}"
    rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for table, data in tables.items():
        data.to_parquet(temporary / f"{table}.parquet")
    part = part_from_files(temporary, final)
    (temporary / OWN).write_bytes(with_checksum(part.row))
    for path in (*temporary.iterdir(), temporary):
        sync(path)
    temporary.rename(final)
    sync(parts)
    return part


def part_from_files(found_in: Path, final: Path | None = None) -> Part:
    """Return a part with the checksums and ids of the tables in the folder `found_in`, as if it were at `final`.

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
    """Return the plan of a study; None before the first plan. Raises `DamagedRecordsError`."""
    path = folder / PLAN
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if index.planned:
            raise DamagedRecordsError(path, "is missing", REWRITE) from None
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    if index.plans and crc32(content) not in index.plans:  # the index now lists a plan that was written meanwhile
        index = read_index(folder)
    if index.plans and crc32(content) not in index.plans:
        raise DamagedRecordsError(path, "is damaged (its checksum does not match)", REWRITE)
    data: pd.DataFrame = parquet(path, content).to_pandas()
    return data


def read_choices(folder: Path, index: Index) -> list[Row]:
    """Return the choices of all cells. Raises `DamagedRecordsError`, also if lines at the end are missing."""
    path = folder / CHOICES
    choices = read_lines(path)
    if len(choices) < index.choices and len(choices) < read_index(folder).choices:  # a start may have reset it
        raise DamagedRecordsError(path, f"has {len(choices)} lines instead of {index.choices}", REWRITE)
    if not all({"cell", "chosen", "confirm"} <= choice.keys() for choice in choices):
        raise DamagedRecordsError(path, "is damaged (it contains other lines than choices)", REWRITE)
    return choices


def forget_choices(folder: Path, index: Index) -> None:
    """Empty the file of choices, after resetting the count in the index."""
    if index.choices:
        append_line(folder / INDEX, {"kind": "choices", "count": 0}, durable=True)
    replace_text(folder / CHOICES, "")


def list_part(folder: Path, part: Part) -> None:
    """Append a part to the index, and return after the line is on disk."""
    append_line(folder / INDEX, part.row, durable=True)


def damage_in(part: Part) -> Iterator[DamagedRecordsError]:
    """Yield an error for each damaged table of a part; this reads all of its bytes."""
    for table in part.tables or TABLES:
        try:
            part.content(table) if part.tables else part.read(table)
        except DamagedRecordsError as error:
            yield error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
