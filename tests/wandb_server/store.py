"""The server's data: a SQLite file and a folder of blobs."""

import hashlib
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  number INTEGER PRIMARY KEY, entity TEXT, project TEXT, name TEXT, displayName TEXT, groupName TEXT, jobType TEXT,
  tags TEXT DEFAULT '[]', config TEXT DEFAULT '{}', summary TEXT DEFAULT '{}', state TEXT DEFAULT 'running', createdAt TEXT,
  heartbeatAt TEXT, UNIQUE (entity, project, name));
CREATE TABLE IF NOT EXISTS lines (run INTEGER, place INTEGER, text TEXT, PRIMARY KEY (run, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (run INTEGER, name TEXT, PRIMARY KEY (run, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS artifacts (
  number INTEGER PRIMARY KEY, entity TEXT, project TEXT, type TEXT, collection TEXT, version INTEGER, digest TEXT,
  state TEXT DEFAULT 'PENDING', metadata TEXT, run INTEGER, createdAt TEXT, manifest TEXT, aliases TEXT);
CREATE TABLE IF NOT EXISTS aliases (
  entity TEXT, project TEXT, collection TEXT, alias TEXT, artifact INTEGER,
  PRIMARY KEY (entity, project, collection, alias)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uses (run INTEGER, artifact INTEGER, PRIMARY KEY (run, artifact)) WITHOUT ROWID;
"""
RUN = "SELECT * FROM runs WHERE entity = ? AND project = ? AND name = ?"


def now() -> str:
    """Return the present time in W&B's format."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Store:
    """A thread-safe database and blobs in a folder; `lock` combines several statements."""

    def __init__(self, folder: Path) -> None:
        self.blobs = folder / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        self.database = sqlite3.connect(folder / "wandb.sqlite", check_same_thread=False, isolation_level=None)
        self.database.row_factory = sqlite3.Row
        self.database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + SCHEMA)

    def close(self) -> None:
        """Close the database."""
        with self.lock:
            self.database.close()

    def rows(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows of a query."""
        with self.lock:
            return [dict(row) for row in self.database.execute(sql, values)]

    def row(self, sql: str, *values: Any) -> Row | None:
        """Return the first row of a query, None if there is none."""
        return next(iter(self.rows(sql, *values)), None)

    def one(self, sql: str, *values: Any) -> Row:
        """Return the row of a query. Raises `LookupError` if there is none."""
        if (row := self.row(sql, *values)) is None:
            raise LookupError(f"nothing is stored for {values}")
        return row

    def write(self, sql: str, *values: Any) -> int:
        """Change the database; return the number of the inserted row."""
        with self.lock:
            return self.database.execute(sql, values).lastrowid or 0

    def append(self, run: int, offset: int, lines: list[str]) -> None:
        """Write lines of a run's history at their positions; lines that are sent twice are stored once."""
        with self.lock:
            self.database.execute("BEGIN")
            rows = [(run, offset + place, text) for place, text in enumerate(lines)]
            self.database.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", rows)
            self.database.execute("COMMIT")

    def lines(self, run: int) -> list[str]:
        """Return the lines of a run's history."""
        return [row["text"] for row in self.rows("SELECT text FROM lines WHERE run = ? ORDER BY place", run)]

    def blob(self, key: str) -> Path:
        """Return the path of a blob; keys are hashed, so that none can point outside the folder."""
        return self.blobs / hashlib.sha256(key.encode()).hexdigest()
