"""Facts of a study's start: question, command, versions, commit and hardware."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import segsweep
from segsweep.config import Study
from segsweep.records import load
from segsweep.sweep.changed import differences
from segsweep.sweep.provenance import git_state, question_of_script, without_secrets


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["study.py", "--set", "keep=val_iou"], ["study.py", "--set", "keep=val_iou"]),
        (["study.py", "--data", "monkey=/a"], ["study.py", "--data", "monkey=/a"]),
        (["study.py", "--wandb-api-key", "123", "--plan"], ["study.py", "--wandb-api-key", "***", "--plan"]),
        (["study.py", "--token=123", "--key", "--plan"], ["study.py", "--token=***", "--key", "--plan"]),
        (["env", "HF_TOKEN=123", "study.py"], ["env", "HF_TOKEN=***", "study.py"]),
        (["study.py", "--store", "s3://me:pass@host/bucket"], ["study.py", "--store", "s3://***@host/bucket"]),
    ],
)
def test_secrets_are_hidden(given: list[str], shown: list[str]) -> None:
    """Values of options named like secrets, and users in URLs, are not recorded; all else is."""
    assert without_secrets(given) == shown


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_of_the_study_file(tmp_path: Path) -> None:
    """The commit is that of the file's repository; changes of tracked files and a file outside the commit are uncommitted."""
    file, other = tmp_path / "study.py", tmp_path / "other.py"
    file.touch()
    assert git_state(file) is None
    git(tmp_path, "init", "-q")
    assert git_state(file) is None  # no commit yet
    git(tmp_path, "add", "study.py")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    other.touch()
    assert git_state(file) == {"commit": commit, "uncommitted": False}
    assert git_state(other) == {"commit": commit, "uncommitted": True}
    file.write_text("changed")
    assert git_state(file) == {"commit": commit, "uncommitted": True}


def test_another_program_has_no_question() -> None:
    """A program that is no study file, such as pytest, gives a study no question."""
    assert question_of_script() is None


def test_a_start_is_recorded_with_the_study(finished: Path) -> None:
    """Each start has its command, versions and hardware; a process that runs no file has no command."""
    (start,) = load(finished / "runs" / "tiny").study["starts"]
    assert bool(start["command"]) == hasattr(sys.modules["__main__"], "__file__")  # pytest's worker processes run no file
    assert start["versions"].keys() == {"python", "segsweep", "torch", "ray", "numpy"}
    assert start["hardware"]["device"] == "cpu x1"
    assert start["hardware"]["cores"] >= 1


STUDY_FILE = '''"""  Which weights help?

More text.
"""
import segsweep
study = segsweep.Study("s", target=segsweep.Target("pets"), compare={"source": ["random"]})
from segsweep.sweep.provenance import question_of_script
print(question_of_script())
'''


def test_the_question_is_the_first_line_of_the_study_file(tmp_path: Path) -> None:
    """The question is the first line of the docstring of the file that runs."""
    file = tmp_path / "study.py"
    file.write_text(STUDY_FILE)
    ended = subprocess.run([sys.executable, str(file)], check=True, capture_output=True, text=True)
    assert ended.stdout == "Which weights help?\n"


def test_another_question_or_start_is_no_other_declaration(copy_of_finished: Path, tiny_study: Study) -> None:
    """A continued study keeps its first start, and neither its question nor its starts count as a changed declaration."""
    folder = copy_of_finished / "runs"
    before = load(folder / "tiny").study
    segsweep.run(tiny_study, out=folder, runner="inline", device="cpu", threads=1)
    after = load(folder / "tiny").study
    assert after["starts"][0] == before["starts"][0]
    assert len(after["starts"]) == 2
    assert list(differences({**before, "question": "another"}, after)) == []
    assert json.loads(json.dumps(after)) == after
