"""The real client, pointed at a server of a test's own and at nothing else of the machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import wandb

from wandb_server.server import WandbServer

FOLDERS = ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR")


@contextmanager
def isolated_server(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """Run a server in a folder, with the client's settings in the environment of this process and those it starts.

    At the end the fault is switched off, the client's own process ends, and the server's `check` is made.
    """
    wandb.teardown()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        patch.delenv(name)
    for name in FOLDERS:
        (folder / name.lower()).mkdir(parents=True)
        patch.setenv(f"WANDB_{name}", str(folder / name.lower()))
    patch.setenv("NETRC", str(folder / "netrc"))
    patch.setenv("WANDB_SILENT", "true")
    with WandbServer(folder / "server") as server:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        try:
            yield server
        finally:
            server.fault = None
            wandb.teardown()
        server.check()
