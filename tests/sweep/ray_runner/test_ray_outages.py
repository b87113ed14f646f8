"""Stores that disappear and return while workers run: nothing fails, and the study gives the same result."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from forked_commands import Command
from study_scripts import Script, assert_whole, measured

from segsweep.records import load


class Lines:
    """The stderr of a process, read line by line."""

    def __init__(self, process: Command) -> None:
        self.text = ""
        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            self.text += line

    def end(self) -> None:
        """Read to the end, once the process has ended."""
        self._thread.join(timeout=10)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def wait_for(self, words: str) -> None:
        """Wait until the process has printed a text."""
        deadline = time.monotonic() + 60
        while words not in self.text:
            assert self._process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(250)
def test_a_store_that_disappears_and_returns(script: Callable[..., Script], undisturbed: pd.DataFrame, tmp_path: Path) -> None:
    """While the store is gone the study is paused; once it is back all trials finish, with equal numbers."""
    study = script()
    driver = study.start("--max-concurrent", "2")
    study.await_epochs(2, driver, "stages")
    said = Lines(driver)
    (tmp_path / "store").rename(tmp_path / "away")
    said.wait_for("paused: ")
    time.sleep(1.5)
    assert not (tmp_path / "store").exists()
    (tmp_path / "away").rename(tmp_path / "store")
    assert driver.wait(timeout=150) == 0, said.text
    said.end()
    assert "is gone; restore it" in said.text
    records = load(study.records)
    assert set(records.trials["status"]) == {"finished"}
    pd.testing.assert_frame_equal(measured(records), undisturbed, check_exact=True)
    assert list(records.stages["starts"]) == [2]
    assert_whole(records, undisturbed)
