"""Runs logged without a network, sent later by the client's command."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import wandb

from wandb_server import WandbServer


def sync(*folders: Path, options: tuple[str, ...] = ()) -> str:
    """Run `wandb sync` and return its output."""
    command = [sys.executable, "-m", "wandb", "sync", *options, *map(str, folders)]
    done = subprocess.run(command, check=True, timeout=50, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_offline_runs_arrive_whole_and_once(wandb_server: WandbServer, tmp_path: Path) -> None:
    """History, summary, image and artifact of offline runs arrive by `wandb sync`; a second sync sends nothing."""
    for name in ("a", "b"):
        with wandb.init(project="segsweep", id=name, mode="offline", config={"name": name}) as run:
            for epoch in range(3):
                run.log({"epoch": epoch})
            run.log({"example": wandb.Image(np.zeros((4, 4, 3), np.uint8))})
            artifact = wandb.Artifact(f"model-{name}", type="model")
            with artifact.new_file("weights.pt") as file:
                file.write(name)
            run.log_artifact(artifact)
    assert not wandb_server.calls
    folders = sorted(Path(os.environ["WANDB_DIR"]).glob("wandb/offline-run-*"))
    sync(*folders)
    for read in wandb.Api().runs("lab/segsweep", lazy=False):
        assert (read.state, read.config, read.summary["epoch"]) == ("finished", {"name": read.id}, 2)
        assert [row["epoch"] for row in read.scan_history(keys=["epoch"])] == [0, 1, 2]
        assert len(list(read.files(pattern="media/images/%"))) == 1
        (logged,) = read.logged_artifacts()
        assert (Path(logged.download(str(tmp_path / read.id))) / "weights.pt").read_text() == read.id
    before = wandb_server.calls["POST file_stream"]
    assert "Skipped 2 synced run(s)" in sync(*folders)
    assert wandb_server.calls["POST file_stream"] == before > 0
