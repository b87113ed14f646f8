"""`segsweep settings`: list every setting with its default, its allowed values and its meaning."""

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
    """Print the named settings (default: all) as text, JSON or Markdown, and the other names that `--set` accepts."""
    entries = setting_entries(options.names)
    if options.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
    elif options.markdown:
        print("\n".join(markdown_table(entries)))
    else:
        print("\n".join(_text(entries)))
        if not options.names:
            others = f"--set also accepts {', '.join(OTHER_NAMES)}"
            print("\n" + "\n".join(wrap(others, COLUMNS, subsequent_indent=INDENT)))


def _text(entries: Sequence[SettingEntry]) -> Iterator[str]:
    """Yield lines on the settings: name, default and allowed values in columns, and the meaning below them."""
    names, defaults = (
        max(len(str(text)) for text in texts) for texts in zip(*((e.name, e.default) for e in entries), strict=True)
    )
    for entry in entries:
        start = f"{entry.name:{names}}  {entry.default!s:{defaults}}  "
        yield from wrap(start + entry.allowed, COLUMNS, subsequent_indent=" " * len(start))
        yield from wrap(entry.meaning, COLUMNS, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False)
