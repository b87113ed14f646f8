"""The real client, connected to the server of one test and isolated from the user's settings."""

import contextlib
import gc
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import wandb
from wandb.sdk.lib.service import service_port_file

from wandb_server.server import WandbServer

FOLDERS = ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR")


@contextlib.contextmanager
def isolated_server(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """Run a server in a folder, with the client's settings in the environment of this process and its children.

    At the end the fault is switched off, the client's process ends, and the server's `check` runs.
    """
    wandb.teardown()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        patch.delenv(name)
    for name in FOLDERS:
        (folder / name.lower()).mkdir(parents=True)
        patch.setenv(f"WANDB_{name}", str(folder / name.lower()))
    patch.setenv("NETRC", str(folder / "netrc"))
    patch.setenv("WANDB_SILENT", "true")
    patch.setattr(service_port_file, "_SLEEP", lambda seconds: time.sleep(min(seconds, 0.01)))  # its process starts soon
    with WandbServer(folder / "server") as server:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        gc.freeze()  # objects that exist before need no search at the end
        gc.disable()  # artifacts leave their temporary folders to the collector; the warnings must come below
        try:
            yield server
        finally:
            server.fault = None
            wandb.finish()
            wandb.teardown()
            end_clients(server.url)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
            gc.enable()
            gc.unfreeze()
        server.check()


def clients_of(url: str) -> list[psutil.Process]:
    """Return the client's processes that are connected to a server, including those that other processes started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() == "wandb-core" and process.environ().get("WANDB_BASE_URL") == url:
                found.append(process)
    return found


def end_clients(url: str) -> None:
    """End the client's processes; one with unsent data outlives its parent."""
    for process in clients_of(url):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(5)
