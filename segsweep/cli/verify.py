"""`segsweep verify`: compare all contents of a store, and the records of studies, with their checksums."""

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
from segsweep.store.contents import CHECKPOINT_FILE, DATA, MASKS, MODEL, WEIGHTS
from segsweep.store.opening import open_store
from segsweep.store.protocol import Progress, Store
from segsweep.store.verified import forget_removed

INTACT = "records are intact"
CHECKPOINT = "checkpoint"  # a kind of content that is not an artifact
BUILT_AGAIN: Mapping[str, str] = {
    DATA: "the next study that uses it prepares it again",
    MASKS: "the next study that uses them reads them again",
    WEIGHTS: "the next study with a trial that needs this stage trains it again",
    MODEL: "the command of its study repeats this confirmed run",
    CHECKPOINT: "its trial or stage restarts from scratch, with a note in its record",
}


@dataclass
class Verified:
    """The result of verifying a store: per kind, the number and bytes of intact artifacts and the number of damaged ones.

    `lines` has a line per damaged artifact; `unread` a line per artifact that cannot be read (no permission, or a disk error).
    """

    intact: Counter[str] = field(default_factory=Counter)
    size: Counter[str] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def verify(options: argparse.Namespace, console: Console) -> None:
    """Verify a store and the named studies; print the result. Exit with 1 if anything is damaged or cannot be read."""
    from segsweep.sweep.progress import choose_view

    damaged = [damage for study in options.studies for damage in records_lines(find_study(study))]
    for line in damaged:
        print(line)
    store = open_store(Path(options.store).absolute(), create=False)
    view = choose_view(console)
    try:
        found = verify_store(store, view.data)
    finally:
        view.close()
    for line in lines_of(found, store):
        print(line)
    if found.lines or found.unread or any(not line.endswith(INTACT) for line in damaged):
        sys.exit(1)


def records_lines(study: Path) -> list[str]:
    """Return a line for every damaged or missing part of a study's records, or one line that they are intact."""
    return [str(damage) for damage in damaged_records(study)] or [f"{study}: {INTACT}"]


def verify_store(store: Store, progress: Progress) -> Verified:
    """Compare the checksums of all contents of a store, even those verified before, and set aside damaged artifacts."""
    found, contents = Verified(), list(_contents(store))
    for done, (kind, key) in enumerate(contents, 1):
        try:
            size = _read_checkpoint(store, key) if kind == CHECKPOINT else _read_artifact(store, kind, key, progress)
        except LostArtifactError as error:
            found.damaged[kind] += 1
            found.lines.append(f"{error}; {BUILT_AGAIN[kind]}")
        except (UserError, OSError) as error:
            found.unread.append(str(error))
        else:
            found.intact[kind] += size is not None
            found.size[kind] += size or 0
        progress(f"verifying {store.location}", done, len(contents))
    forget_removed()
    return found


def _contents(store: Store) -> Iterator[tuple[str, str]]:
    """Yield the kind and the key of every artifact, then (`CHECKPOINT`, id) of all work with a checkpoint."""
    for kind in BUILT_AGAIN:
        yield from ((kind, key) for key in (_with_checkpoint(store) if kind == CHECKPOINT else store.keys(kind)))


def _with_checkpoint(store: Store) -> list[str]:
    folders = {identity: store.checkpoints(identity).find() for identity in store.unfinished()}
    return [identity for identity, folder in folders.items() if folder is not None and (folder / CHECKPOINT_FILE).is_file()]


def _read_artifact(store: Store, kind: str, key: str, progress: Progress) -> int:
    """Return the size in bytes of an intact artifact. Raises `LostArtifactError` if it is damaged."""
    store.open(kind, key, progress, verify="always")
    return store.size(kind, key)


def _read_checkpoint(store: Store, identity: str) -> int | None:
    """Return the size in bytes of an intact checkpoint; None if it has been removed meanwhile.

    Raises `LostArtifactError` if it is damaged, and does not move it.
    """
    from segsweep.training.checkpoint import damage_of

    if (folder := store.checkpoints(identity).find()) is None:
        return None
    path = folder / CHECKPOINT_FILE
    try:
        size, damage = path.stat().st_size, damage_of(path)
    except FileNotFoundError:  # its trial or stage has ended
        return None
    if damage is not None:
        raise LostArtifactError(CHECKPOINT, identity, f"is damaged: {path.name} {damage}")
    return size


def lines_of(found: Verified, store: Store) -> Iterator[str]:
    """Yield a line per kind, a line per damaged artifact with its remedy, and a line per artifact that cannot be read."""
    for kind in BUILT_AGAIN:
        damaged = f", {found.damaged[kind]} damaged" if found.damaged[kind] else ""
        yield f"{kind:10} {found.intact[kind]} intact ({found.size[kind] / 1e6:.1f} MB){damaged}"
    yield from found.lines
    yield from found.unread
    if kept := store.damaged():
        yield f"{kept[0].rpartition('/')[0]} contains {len(kept)} damaged artifacts that were set aside; it can be deleted"
