"""The console on stderr that shows what a user wrote as it is written."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def error_console() -> "Console":
    """Return the console of all commands: on stderr, without rich's markup, emoji and highlighting.

    Names of datasets, files and cells would otherwise change: rich prints `a:b:` as an emoji and drops `[x]`.
    """
    from rich.console import Console

    return Console(stderr=True, emoji=False, markup=False, highlight=False)
