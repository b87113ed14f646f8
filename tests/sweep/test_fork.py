"""Forks: a variant of a study under another name starts from the records of the study."""

import hashlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

import segsweep
from segsweep.config import Study
from segsweep.errors import UserError
from segsweep.records import Records
from segsweep.records.fork import fork
from segsweep.trial import execute_trial

HOW = {"runner": "inline", "device": "cpu", "threads": 1}
RESULTS = ["trial_id", "status", "val_iou", "test_iou", "seconds", "model_key", "started_at"]


def digests(folder: Path) -> dict[str, str]:
    """Return the digests of all files of a study's records."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that receives the id of every trial that is trained from now on."""
    ids: list[str] = []

    def counted(task, *arguments):
        ids.append(task.identity)
        return execute_trial(task, *arguments)

    monkeypatch.setattr("segsweep.trial.execute_trial", counted)
    return ids


def _die_at_the_rename(moment: str) -> None:
    """Kill this process before or after it renames a folder."""
    rename = Path.rename

    def dying(path: Path, to: Path) -> None:
        if moment == "after":
            rename(path, to)
        os.kill(os.getpid(), signal.SIGKILL)

    Path.rename = dying


def results(records: Records) -> list[tuple[str, ...]]:
    """Return how the trials of a study ended."""
    rows = records.trials.sort_values("trial_id")[RESULTS]
    return [tuple(map(str, row)) for row in rows.itertuples(index=False)]


def test_a_fork_runs_only_what_its_origin_lacks(copy_of_finished: Path, tiny_study: Study, monkeypatch) -> None:
    """A variant with one seed more trains one run per cell; all other rows equal those of the origin, which stays as it was."""
    before, ids = digests(copy_of_finished / "runs" / "tiny"), trained(monkeypatch)
    more = replace(tiny_study, seeds=3)
    forked = segsweep.run(more, out=copy_of_finished / "runs", fork="variant", **HOW)
    assert len(ids) == len(forked.study["cells"])
    assert set(forked.all_trials["study"]) == {"variant"} == set(forked.all_epochs["study"]) == set(forked.all_images["study"])
    origin = segsweep.load(copy_of_finished / "runs" / "tiny")
    assert set(results(origin)) < set(results(forked))
    assert digests(copy_of_finished / "runs" / "tiny") == before
    assert origin.study["records_id"] != forked.study["records_id"]
    assert forked.study["looked"] == [2]  # the answer of the origin, after which a seed was added


def test_an_equal_fork_has_nothing_to_do(copy_of_finished: Path, tiny_study: Study, monkeypatch) -> None:
    """A fork of the same declaration trains nothing, also when it is started again, and its answer is the same."""
    ids = trained(monkeypatch)
    first = segsweep.run(tiny_study, out=copy_of_finished / "runs", fork="variant", **HOW)
    again = segsweep.run(tiny_study, out=copy_of_finished / "runs", fork="variant", **HOW)
    origin = segsweep.load(copy_of_finished / "runs" / "tiny")
    assert ids == []
    assert results(first) == results(again) == results(origin)
    assert first.answer.sentences == origin.answer.sentences


def test_a_fork_that_is_killed_while_it_begins_starts_again(copy_of_finished: Path, tiny_study: Study, monkeypatch) -> None:
    """Killed before its first part has its name, a fork holds nothing; killed after it, the same command continues."""
    origin, folder = segsweep.load(copy_of_finished / "runs" / "tiny"), copy_of_finished / "runs" / "variant"
    for moment in ("before", "after"):
        if (child := os.fork()) == 0:
            _die_at_the_rename(moment)
            fork(origin.folder, folder, "variant")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        assert (folder / "parts" / "000001").is_dir() == (moment == "after")
    ids = trained(monkeypatch)
    forked = segsweep.run(tiny_study, out=copy_of_finished / "runs", fork="variant", **HOW)
    assert ids == []
    assert results(forked) == results(origin)


def test_a_fork_without_an_origin_is_refused(tmp_path: Path, tiny_study: Study) -> None:
    """The error names the missing folder and the remedy, before anything is written."""
    with pytest.raises(UserError, match=r"--fork: .*runs/tiny holds no study to start from; run it first, or use --name"):
        segsweep.run(tiny_study, out=tmp_path / "runs", fork="variant", **HOW)
    assert not (tmp_path / "runs" / "variant").exists()


def test_a_fork_needs_another_name(copy_of_finished: Path, tiny_study: Study) -> None:
    """A fork under the study's own name would be the study."""
    with pytest.raises(UserError, match="--fork tiny: is the name of the study itself"):
        segsweep.run(tiny_study, out=copy_of_finished / "runs", fork="tiny", **HOW)


def test_another_study_is_not_taken_for_a_fork(copy_of_finished: Path, tiny_study: Study) -> None:
    """A name under which another study has records is refused; the same command continues a fork."""
    segsweep.run(replace(tiny_study, name="other", seeds=1), out=copy_of_finished / "runs", **HOW)
    with pytest.raises(UserError, match=r"--fork other: .*runs/other holds another study; give the variant a name that is free"):
        segsweep.run(tiny_study, out=copy_of_finished / "runs", fork="other", **HOW)
