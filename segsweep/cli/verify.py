"""`segsweep verify`: everything in a store compared with its checksums."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from segsweep.errors import LostArtifactError, UserError
from segsweep.records.find import find_study
from segsweep.records.verify import damaged_records
from segsweep.store.folder import DAMAGED, Progress, Store
from segsweep.store.verified import forget_gone

WHOLE = "records are whole"  # of a study
BUILT_AGAIN: Mapping[str, str] = {
    "data": "the commands of studies that use it prepare it again",
    "masks": "the commands of studies that use them read them again",
    "weights": "the commands of studies build this stage again when a trial needs it",
    "model": "the command of its study runs this confirmed run again",
    "checkpoint": "what it belongs to starts afresh, and says so",
}
CHECKPOINT, LAST = "checkpoint", "last.safetensors"  # in the folders of what is not finished


@dataclass
class Verified:
    """What a store holds: by kind, how many artifacts and bytes are whole and how many are damaged, and a line on each of those.

    `unread` has a line on each that cannot be read, for lack of permission or since the disk fails.
    """

    whole: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def verify(options: argparse.Namespace, console: Console) -> None:
    """Read a store, print what is whole of every kind and what builds the rest again; exit code 1 where something is damaged."""
    from segsweep.sweep.progress import choose_view

    damaged = [damage for study in options.studies for damage in records_lines(find_study(study))]
    for line in damaged:
        print(line)
    store = Store.existing(Path(options.store).absolute())
    view = choose_view(console)
    try:
        found = verify_store(store, view.data)
    finally:
        view.close()
    for line in lines_of(found, store):
        print(line)
    if found.lines or found.unread or any(not line.endswith(WHOLE) for line in damaged):
        sys.exit(1)


def records_lines(study: Path) -> list[str]:
    """Return a line for everything that is damaged or missing in a study's records, or one that they are whole."""
    return [str(damage) for damage in damaged_records(study)] or [f"{study}: {WHOLE}"]


def verify_store(store: Store, progress: Progress) -> Verified:
    """Compare the checksums of everything in a store, also of what this machine has verified, and set aside what is damaged."""
    found, there = Verified(), list(_contents(store))
    for done, (kind, path) in enumerate(there, 1):
        try:
            size = _read_checkpoint(path) if kind == CHECKPOINT else _read_artifact(store, kind, path, progress)
        except LostArtifactError as error:
            found.damaged[kind] += 1
            found.lines.append(f"{error}; {BUILT_AGAIN[kind]}")
        except (UserError, OSError) as error:
            found.unread.append(str(error))
        else:
            found.whole[kind] += size is not None
            found.size[kind] += size or 0
        progress(f"verifying {store.root}", done, len(there))
    forget_gone()
    return found


def _contents(store: Store) -> Iterator[tuple[str, Path]]:
    """Yield the kind and the path of every artifact and of every checkpoint."""
    for kind in BUILT_AGAIN:
        if kind == CHECKPOINT:
            paths = (store.root / "work").glob(f"*/{LAST}")
        else:
            paths = (path for path in (store.root / kind).glob("*") if path.is_dir())
        yield from ((kind, path) for path in sorted(paths))


def _read_artifact(store: Store, kind: str, folder: Path, progress: Progress) -> int:
    """Return the bytes of a whole artifact. Raises `LostArtifactError`."""
    store.open(kind, folder.name, progress, again=True)
    return sum(path.stat().st_size for path in folder.iterdir())


def _read_checkpoint(path: Path) -> int | None:
    """Return the bytes of a whole checkpoint, None where it has gone meanwhile. Raises `LostArtifactError`; moves nothing."""
    from segsweep.training.checkpoint import damage_of

    try:
        size, damage = path.stat().st_size, damage_of(path)
    except FileNotFoundError:  # its trial has ended
        return None
    if damage is not None:
        raise LostArtifactError(CHECKPOINT, path.parent.name, f"is damaged: {path.name} {damage}")
    return size


def lines_of(found: Verified, store: Store) -> Iterator[str]:
    """Yield a line per kind, one per damaged artifact with what builds it again, and one per artifact that cannot be read."""
    for kind in BUILT_AGAIN:
        damaged = f", {found.damaged[kind]} damaged" if found.damaged[kind] else ""
        yield f"{kind:10} {found.whole[kind]} whole ({found.size[kind] / 1e6:.1f} MB){damaged}"
    yield from found.lines
    yield from found.unread
    if kept := sum(1 for _ in (store.root / DAMAGED).glob("*")):
        yield f"{store.root / DAMAGED} holds {kept} damaged artifacts, which nothing reads; remove it when you like"
