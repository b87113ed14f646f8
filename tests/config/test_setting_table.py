"""The table of settings."""

import re
from pathlib import Path

import pytest

from segsweep.config.loss_text import LOSS_NAMES
from segsweep.config.setting_table import markdown_table, setting_entries
from segsweep.config.settings import Settings
from segsweep.config.stage_kinds import STAGE_KINDS

PAGE = Path(__file__).parents[2] / "sweeps" / "README.md"
TABLE = setting_entries()
MEANINGS = {entry.name: entry.meaning for entry in TABLE}
NAMED = {  # values that a meaning must name although the type of the setting does not list them
    "loss": LOSS_NAMES,
    "source": [kind.form.partition("[@prefix")[0] for kind in STAGE_KINDS.values()],
    "freeze": ("none", "encoder", "encoder:K", "norm"),
}


def test_every_setting_is_documented_at_its_field() -> None:
    """Each field has a docstring of at most 340 characters, in sentences, with the words of the field."""
    assert list(MEANINGS) == list(Settings.model_fields)
    for name, meaning in MEANINGS.items():
        assert meaning.endswith((".", ".)")), name
        assert 20 < len(meaning) <= 340, name
        assert not re.search(r"picture|\btold\b|\n|\|", meaning), name


@pytest.mark.parametrize("entry", [entry for entry in TABLE if "," in entry.allowed or entry.name in NAMED], ids=lambda e: e.name)
def test_a_meaning_names_every_value(entry) -> None:
    """The docstring explains each allowed value, or refers to a setting whose docstring does."""
    values = NAMED.get(entry.name) or entry.allowed.removesuffix(" or None").split(", ")
    referred = [MEANINGS[name] for name in re.findall(r", as `(\w+)`", entry.meaning)]
    for value in values:
        assert any(f"`{value}`" in text for text in (entry.meaning, *referred)), value


def test_a_meaning_refers_to_settings_that_exist() -> None:
    """Each text in backquotes with the form of a prefixed setting is a setting."""
    for name, meaning in MEANINGS.items():
        for word in re.findall(r"`((?:source|ssl|encoder|learning|batch)_\w+)`", meaning):
            assert word in (*MEANINGS, "source_trials"), (name, word)


def test_the_page_of_studies_has_the_table_of_the_fields() -> None:
    """The table in the section Settings of `sweeps/README.md` equals the output of `segsweep settings --markdown`."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Settings\n")[1].split("\n## ")[0]
    assert [line for line in section.splitlines() if line.startswith("|")] == markdown_table(TABLE)
