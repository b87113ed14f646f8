"""W&B's client as the mirror uses it: with timeouts, and without any data about this machine."""

import resource
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from segsweep.records.wandb.destination import Destination
from segsweep.records.wandb.options import patience_seconds

RETRIES = 3
MOST_RUNS, FILES_A_RUN, MOST_FILES = 500, 10, 8192  # the client keeps connections open for each run that it has sent


def settings() -> wandb.Settings:
    """Return the client's settings: quiet; no console, code, machine or package lists; every wait has a limit."""
    return wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        init_timeout=patience_seconds() / 2,
        finish_timeout=patience_seconds(),
        finish_timeout_raises=True,
        x_graphql_retry_max=RETRIES,
        x_graphql_retry_wait_max_seconds=5,
        x_file_transfer_retry_max=RETRIES,
        x_file_transfer_retry_wait_max_seconds=5,
        x_file_stream_transmit_interval=2,
    )


def open_run(
    destination: Destination,
    run_id: str,
    *,
    new: bool,
    name: str,
    group: str,
    job_type: str,
    tag: str,
    config: Mapping[str, Any],
) -> wandb.Run:
    """Open a `new` run, or resume an existing one."""
    online = destination.server is not None
    run = wandb.init(
        entity=destination.entity,
        project=destination.project,
        id=run_id,
        name=name,
        group=group,
        job_type=job_type,
        tags=[tag],
        config=dict(config) if new else None,  # for an existing run, W&B would keep its own values
        mode="online" if online else "offline",
        resume="allow" if online else None,
        reinit="create_new",
        dir=str(destination.folder),
        settings=settings(),
    )
    if not new:
        set_config(run, config)
    run.define_metric("epoch", hidden=True)
    for keys in ("train/*", "val/*", "epoch/*"):
        run.define_metric(keys, step_metric="epoch")
    return run


def set_config(run: wandb.Run, config: Mapping[str, Any]) -> None:
    """Set values of a run's config, overwriting existing ones."""
    run.config.update(dict(config), allow_val_change=True)  # type: ignore[no-untyped-call]


def log_artifact(run: wandb.Run, artifact: wandb.Artifact) -> None:
    """Log an artifact; online, wait until it has arrived."""
    logged = run.log_artifact(artifact)
    if not run.offline:
        logged.wait(timeout=round(10 * patience_seconds()))


def remove_files(run: wandb.Run) -> None:
    """Remove W&B's local files of a run that has been sent."""
    if not run.offline:
        shutil.rmtree(Path(run.settings.sync_dir), ignore_errors=True)


def most_runs() -> int:
    """Return how many runs one process may send, given the limit on open files, which is raised as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MOST_FILES:
        soft = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST_RUNS if soft == resource.RLIM_INFINITY else min(MOST_RUNS, soft // FILES_A_RUN)
