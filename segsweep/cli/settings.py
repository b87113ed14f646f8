"""`segsweep settings`: every setting with its default and what it allows."""

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from segsweep.config.narrow import OTHER_NAMES
from segsweep.config.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

LIMITS = {"exclusiveMinimum": "> ", "minimum": ">= ", "exclusiveMaximum": "< ", "maximum": "<= "}


def settings(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    """Print a line a setting, and what else `--set` takes."""
    properties = Settings.model_json_schema()["properties"]
    defaults = {name: str(facts.get("default")) for name, facts in properties.items()}
    widths = max(map(len, properties)), max(map(len, defaults.values()))
    for name, facts in properties.items():
        print(f"{name:{widths[0]}}  {defaults[name]:{widths[1]}}  {' or '.join(_allowed(facts))}".rstrip())
    print(f"\n--set takes these and {', '.join(OTHER_NAMES)}")


def _allowed(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a property of a JSON schema allows, an alternative at a time."""
    for each in facts.get("anyOf", [facts]):
        if "enum" in each or "const" in each:
            yield ", ".join(map(str, each.get("enum", [each.get("const")])))
        elif each.get("type") != "null":
            limits = " ".join(f"{sign}{each[limit]:g}" for limit, sign in LIMITS.items() if limit in each)
            yield f"{each.get('type', 'text')} {limits}".rstrip().replace("string", "text")
        else:
            yield "None"
