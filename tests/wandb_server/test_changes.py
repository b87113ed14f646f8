"""Later changes: resumed runs, parallel runs, and changes through `Api`."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import wandb

from wandb_server import WandbServer, isolated_server
from wandb_server.isolation import clients_of


def history(name: str) -> list[int]:
    """Return the epochs of a run's history, as `Api` reads them."""
    return [row["epoch"] for row in wandb.Api().run(f"lab/segsweep/{name}").scan_history()]


def test_a_resumed_run_continues_from_the_servers_state(wandb_server: WandbServer) -> None:
    """`resume="allow"` appends to the history, and the run's steps and config continue."""
    for attempt, epochs in enumerate([range(3), range(1, 5)]):
        with wandb.init(project="segsweep", id="t1", resume="allow", config={f"attempt_{attempt}": 1}) as run:
            assert (run.resumed, run.starting_step) == (attempt == 1, 3 * attempt)
            for epoch in epochs:
                run.log({"epoch": epoch})
    assert history("t1") == [0, 1, 2, 1, 2, 3, 4]
    read = wandb.Api().run("lab/segsweep/t1")
    assert (read.state, read.config, read.lastHistoryStep) == ("finished", {"attempt_0": 1, "attempt_1": 1}, 6)
    assert wandb_server.store.rows("SELECT COUNT(*) AS runs FROM runs") == [{"runs": 1}]


def test_a_run_is_running_until_it_ends_and_failed_if_it_failed(wandb_server: WandbServer) -> None:
    """States are running, finished and failed, and a resumed run is running again."""

    def state() -> str:
        (row,) = wandb_server.store.rows("SELECT state FROM runs")
        return str(row["state"])

    run = wandb.init(project="segsweep", id="t1")
    assert state() == "running"
    run.finish(exit_code=3)
    assert state() == "failed"
    run = wandb.init(project="segsweep", id="t1", resume="allow")
    assert state() == "running"
    run.finish()
    assert state() == "finished"


def test_runs_side_by_side_do_not_mix(wandb_server: WandbServer) -> None:
    """Two open runs in one process, each logged by its own thread, keep their own rows."""
    wandb.setup()
    runs = [wandb.init(project="segsweep", id=name, reinit="create_new") for name in ("a", "b")]

    def log(number: int) -> None:
        for epoch in range(50):
            runs[number].log({"epoch": epoch + 100 * number})

    threads = [threading.Thread(target=log, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        run.finish()
    assert (history("a"), history("b")) == ([*range(50)], [*range(100, 150)])
    assert wandb_server.calls["mutation UpsertBucket"] >= 2


def test_the_api_changes_a_run_without_waking_it(wandb_server: WandbServer) -> None:
    """`run.update` and `run.summary.update` change config, tags and summary of a finished run, which stays finished."""
    with wandb.init(project="segsweep", id="t1", config={"learning_rate": 0.1}) as run:
        run.log({"epoch": 1})
    read = wandb.Api().run("lab/segsweep/t1")
    read.config["chosen"] = True
    read.tags.append("best")
    read.update()
    read.summary["test/iou"] = 0.7
    read.summary.update()  # type: ignore[no-untyped-call]
    again = wandb.Api().run("lab/segsweep/t1")
    assert (again.state, again.config, again.tags) == ("finished", {"learning_rate": 0.1, "chosen": True}, ["best"])
    assert (again.summary["test/iou"], again.summary["epoch"]) == (0.7, 1)
    assert wandb_server.calls["mutation UpsertBucket"] >= 4


def test_missing_objects_are_errors(wandb_server: WandbServer) -> None:
    """A missing project, run or artifact raises the client's errors."""
    with wandb.init(project="segsweep", id="t1"):
        pass
    api = wandb.Api()
    with pytest.raises(ValueError, match="Could not find project nothing"):
        list(api.runs("lab/nothing"))
    with pytest.raises(wandb.errors.CommError, match="Could not find run"):
        api.run("lab/segsweep/nothing")
    with pytest.raises(wandb.errors.CommError, match="not found in 'lab/segsweep'"):
        api.artifact("lab/segsweep/nothing:latest")
    assert wandb_server.calls["query Runs"] == 1


def test_a_wrong_key_is_refused(wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another key the client can neither read nor write."""
    monkeypatch.setenv("WANDB_API_KEY", "other-" + "0" * 40)
    with pytest.raises(wandb.errors.AuthenticationError, match="invalid API key"):
        wandb.Api().runs("lab/segsweep")
    with pytest.raises(wandb.errors.CommError, match="invalid API key"):
        wandb.init(project="segsweep", id="t1")
    assert wandb_server.store.rows("SELECT * FROM runs") == []


DYING = """
import os, wandb
with wandb.init(project="segsweep", id="t1") as run:
    run.log({"epoch": 7})
wandb.init(project="segsweep", id="t2").log({"epoch": 8})
os._exit(1)
"""


def test_a_process_of_the_test_reaches_the_server_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from the environment; after the test no process of the client is alive, even with an open run."""
    with isolated_server(tmp_path / "one", monkeypatch) as server:
        subprocess.run([sys.executable, "-c", DYING], check=False, timeout=30)
        assert history("t1") == [7]
        assert clients_of(server.url)
    assert not clients_of(server.url)
    folders = [os.environ[f"WANDB_{name}"] for name in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR")]
    assert all(Path(folder).is_relative_to(tmp_path) for folder in folders)


def test_a_restarted_server_has_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder contains the whole state of a server."""
    with isolated_server(tmp_path / "one", monkeypatch), wandb.init(project="segsweep", id="t1") as run:
        run.log({"epoch": 7})
    (folder,) = {path.parent for path in tmp_path.rglob("wandb.sqlite")}
    with WandbServer(folder) as again:
        monkeypatch.setenv("WANDB_BASE_URL", again.url)
        assert history("t1") == [7]
        wandb.teardown()


def test_a_missing_field_fails_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that the server does not have is reported at the end; the client continues."""
    with isolated_server(tmp_path, monkeypatch) as server:
        with wandb.init(project="segsweep", id="t1"):
            pass
        wandb.Api().run("lab/segsweep/t1").delete()
        with pytest.raises(AssertionError, match=r"DeleteRun: mutation\.deleteRun"):
            server.check()
        server.notes.missing.clear()
