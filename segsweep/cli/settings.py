"""`segsweep settings`: every setting with its default, what it allows and what it means."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import TYPE_CHECKING

from segsweep.config.narrow import OTHER_NAMES
from segsweep.config.setting_table import SettingEntry, markdown_table, setting_entries

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = 100
INDENT = "    "


def settings(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    """Print the settings that are asked for, by default all, as text, JSON or Markdown; and what else `--set` takes."""
    entries = setting_entries(options.names)
    if options.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
    elif options.markdown:
        print("\n".join(markdown_table(entries)))
    else:
        print("\n".join(_text(entries)))
        if not options.names:
            print("\n" + "\n".join(wrap(f"--set takes these and {', '.join(OTHER_NAMES)}", COLUMNS, subsequent_indent=INDENT)))


def _text(entries: Sequence[SettingEntry]) -> Iterator[str]:
    """Yield the lines of the settings: name, default and allowed values under each other, and below these the meaning."""
    names, defaults = (
        max(len(str(text)) for text in texts) for texts in zip(*((e.name, e.default) for e in entries), strict=True)
    )
    for entry in entries:
        start = f"{entry.name:{names}}  {entry.default!s:{defaults}}  "
        yield from wrap(start + entry.allowed, COLUMNS, subsequent_indent=" " * len(start))
        yield from wrap(entry.meaning, COLUMNS, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False)
