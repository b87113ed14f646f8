"""Variants of a study, and results that a full disk cannot store."""

import errno
import json
import os
from pathlib import Path

import pytest

from segsweep import Study, main
from segsweep.cli.commands import command_line


def test_a_name_gives_a_variant_its_own_folder(tiny_study: Study, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--name`, a study has that name and ignores the original's records; a name that no folder can have is rejected."""
    for arguments, done in ((["--set", "epochs=2"], 16), (["--name", "variant"], 0)):
        options = ["--plan", "--json", "--runner", "inline", "--device", "cpu", "--out", str(finished / "runs")]
        with pytest.raises(SystemExit) as end:
            main(tiny_study, arguments=[*options, *arguments])
        assert not end.value.code
        plan = json.loads(capsys.readouterr().out)
        assert (plan["study"], plan["trials_done"]) == (arguments[1] if not done else "tiny", done)
    with pytest.raises(SystemExit) as end:
        main(tiny_study, arguments=[*options, "--name", "../other"])
    assert end.value.code == 2
    assert "study name='../other': must be letters" in capsys.readouterr().err


def test_a_plan_counts_the_trials_that_a_changed_study_drops(
    tiny_study: Study, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a run, the plan states how many recorded trials a changed study no longer contains; no line for an unchanged one."""
    for arguments, expected in (([], 0), (["--set", "epochs=3"], 1), (["--set", "epochs=3", "--name", "variant"], 0)):
        with pytest.raises(SystemExit):
            main(tiny_study, arguments=["--plan", "--json", "--runner", "inline", "--out", str(finished / "runs"), *arguments])
        remarks = json.loads(capsys.readouterr().out)["remarks"]
        found = [line for line in remarks if "was declared differently (epochs: 2, now 3); 16 of its 16 trials" in line]
        assert len(found) == expected
        assert len([line for line in remarks if "declared differently" in line]) == expected


@pytest.mark.parametrize("command", ["report STUDY", "export STUDY --to csv --out OUT"])
def test_a_full_disk_is_one_line(
    copy_of_finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """If a result cannot be written, one line names the place and the remedy."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = {"STUDY": str(copy_of_finished / "runs" / "tiny"), "OUT": str(tmp_path / "out")}
    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr("pandas.DataFrame.to_csv", full)
    with pytest.raises(SystemExit) as end:
        command_line([words.get(word, word) for word in command.split()])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --out: ")
    assert "No space left on device; free some space" in error
    assert error.count("\n") == 1
