import json

import numpy as np
import pytest

from segsweep.errors import UserError
from segsweep.records.lines import append_line, plain, read_lines, read_study, replace_text


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.jsonl"


def test_lines_round_trip(path):
    """Appended lines are read back in order, with any letters and line breaks."""
    rows = [{"a": 1}, {"text": "two\nlines\r\n and \u2028 ünï"}, {"nested": {"list": [1, None, "x"]}}, {}]
    for row in rows:
        append_line(path, row, durable=True)
    assert read_lines(path) == rows
    assert path.read_bytes().count(b"\n") == len(rows)


@pytest.mark.parametrize("torn", [b"{", b'{"b": 2', b'{"b": 2}', '{"ü'.encode()[:-1]])
@pytest.mark.parametrize("before", [[], [{"a": 1}], [{"a": 1}, {"a": "x" * 5000}]])
def test_torn_last_line_is_ignored_and_then_repaired(path, torn, before):
    """A line without newline is ignored by readers and cut off by the next append; the other lines stay."""
    path.touch()
    for row in before:
        append_line(path, row)
    path.write_bytes(path.read_bytes() + torn)
    assert read_lines(path) == before
    append_line(path, {"c": 3})
    assert read_lines(path) == [*before, {"c": 3}]
    assert torn not in path.read_bytes().splitlines()


def test_missing_file_has_no_lines(path):
    """A file whose lines have just become a part reads as empty."""
    assert read_lines(path) == []


def test_nan_and_infinities_become_null(path):
    """NaN and infinities at any depth become null, so that every line is standard JSON."""
    append_line(path, {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": (float("-inf"), np.float64("nan"))}})
    assert read_lines(path) == [{"a": None, "b": [1.5, None], "c": {"d": [None, None]}}]
    json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))
    assert plain(2.5) == 2.5


@pytest.mark.parametrize("content", [b"", b'{"name": "s"', b"\xff", b"[]", b'{"name": "s"}', b'{"schema_version": 1}', None])
def test_an_unreadable_declaration_is_one_line_with_its_file(tmp_path, content):
    """For any damage of `study.json` the message names the file and the remedy."""
    file = tmp_path / "study.json"
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises(
        UserError,
        match=f"^{file}: (no study can be read from it .*|cannot be read .*); restore it, or move {tmp_path} elsewhere$",
    ):
        read_study(tmp_path)


def test_whole_file_is_replaced_at_once(tmp_path, monkeypatch):
    """An interrupted write leaves the old file."""
    replace_text(tmp_path / "f", "old")
    monkeypatch.setattr(type(tmp_path), "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        replace_text(tmp_path / "f", "new")
    assert (tmp_path / "f").read_text() == "old"
