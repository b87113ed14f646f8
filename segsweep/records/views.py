"""Views of records that rooms above this one compute, such as the answer: a table of names and where each function is found.

`records` may not import `report`. The package's root registers the views, and `Records` imports a view on its first use.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

_VIEWS: dict[str, str] = {}  # name of a view -> MODULE:FUNCTION, which takes `Records`


def register_view(name: str, function: str) -> None:
    """Register the view `name`, computed by `function`: a text `MODULE:FUNCTION`. The module is not imported yet."""
    _VIEWS[name] = function


def view(name: str) -> Callable[..., Any]:
    """Import and return the function of a view. Raises `KeyError` for a name that is not registered."""
    module, _, function = _VIEWS[name].partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
