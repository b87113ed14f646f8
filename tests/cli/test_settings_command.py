"""`segsweep settings`."""

import json

import pytest
from called import call

from segsweep.config.setting_table import setting_entries
from segsweep.config.settings import Settings


def test_settings_fit_100_columns_and_begin_lines_with_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Every setting has one line of name, default and allowed values, and its whole meaning indented below."""
    assert call("settings") == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines if line[:1].isalpha()] == list(Settings.model_fields)
    assert any(line.split() == ["warmup", "0.0", "number", ">=", "0", "<", "1"] for line in lines)
    words = " ".join(printed.split())
    assert all(entry.meaning in words for entry in setting_entries())
    assert "--set also accepts trials_per_cell, seeds," in words


def test_settings_of_some_names_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Names select settings; JSON has defaults as values; an unknown name is one line with the nearest name."""
    assert call("settings", "fold", "ema", "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["default"], each["allowed"]) for each in entries] == [
        ("fold", None, "integer >= 1 or None"),
        ("ema", None, "number > 0 < 1 or None"),
    ]
    assert call("settings", "learning_rat") == 2
    assert capsys.readouterr().err.startswith("error: setting: unknown name 'learning_rat'; nearest: learning_rate")
