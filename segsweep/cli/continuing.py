"""The last line of an interrupted study command, with the command that continues it."""

import shlex
import sys
from pathlib import Path


def how_to_continue(detail: str = "") -> str:
    """Return the last line of an interrupted study command. `detail` is the reason, empty if it was a signal."""
    script = Path(sys.argv[0]).absolute()
    shown = script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script
    why = f": {detail}" if detail else ""
    return f"interrupted{why}; everything so far is kept. To continue: python {shlex.join([str(shown), *sys.argv[1:]])}"
