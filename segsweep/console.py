"""The console on stderr, which prints names and messages verbatim."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def error_console() -> "Console":
    """Return the console of all commands: on stderr, without rich's markup, emoji and highlighting.

    They would change names of datasets, files and cells: rich prints `a:b:` as an emoji and drops `[x]`.
    """
    from rich.console import Console

    return Console(stderr=True, emoji=False, markup=False, highlight=False)
