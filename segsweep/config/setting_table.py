"""The table of settings: name, default, allowed values and meaning of each, read from the fields of `Settings`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segsweep.config.settings import LISTED, Settings
from segsweep.errors import unknown

LIMITS = {"exclusiveMinimum": "> ", "minimum": ">= ", "exclusiveMaximum": "< ", "maximum": "<= "}


@dataclass(frozen=True)
class SettingEntry:
    """One setting. `allowed` is a text such as `number > 0 <= 1 or None`; `meaning` is the docstring of the field."""

    name: str
    default: Any
    allowed: str
    meaning: str


def setting_entries(names: Sequence[str] = ()) -> list[SettingEntry]:
    """Return the settings with these names, by default all, in the order of the fields.

    Raises `UserError` for an unknown name.
    """
    properties = Settings.model_json_schema()["properties"]
    for name in names:
        if name not in properties:
            raise unknown("setting", name, list(properties), LISTED)
    return [
        SettingEntry(name, facts["default"], " or ".join(_allowed(facts)), " ".join(facts["description"].split()))
        for name, facts in properties.items()
        if not names or name in names
    ]


def _allowed(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the alternatives that a property of a JSON schema allows, one text each."""
    for each in facts.get("anyOf", [facts]):
        if "enum" in each or "const" in each:
            yield ", ".join(map(str, each.get("enum", [each.get("const")])))
        elif each.get("type") != "null":
            limits = " ".join(f"{sign}{each[limit]:g}" for limit, sign in LIMITS.items() if limit in each)
            yield f"{each.get('type', 'text')} {limits}".rstrip().replace("string", "text")
        else:
            yield "None"


def markdown_table(entries: Sequence[SettingEntry]) -> list[str]:
    """Return the lines of the Markdown table of settings."""
    rows = [f"| `{entry.name}` | `{entry.default}` | {entry.allowed} | {entry.meaning} |" for entry in entries]
    return ["| setting | default | allowed | meaning |", "|---|---|---|---|", *rows]
