"""Opening W&B runs as the mirror wants them: bounded in time, and telling nothing of this machine."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from segsweep.records.wandb.destination import Destination
from segsweep.records.wandb.options import patience_seconds

RETRIES = 3


def settings() -> wandb.Settings:
    """Return the client's settings: quiet, no console, code, machine or package lists, and no waiting without end."""
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
    folder: Path,
    run_id: str,
    *,
    new: bool,
    name: str,
    group: str,
    job_type: str,
    config: Mapping[str, Any],
    tags: list[str],
) -> wandb.Run:
    """Open a run that is `new`, or go on with one that is there. W&B's own files go to `folder/wandb`."""
    run = wandb.init(
        entity=destination.entity,
        project=destination.project,
        id=run_id,
        name=name,
        group=group,
        job_type=job_type,
        tags=tags,
        config=dict(config) if new else None,  # of one that is there, W&B would keep its own values
        mode="online" if destination.mode == "online" else "offline",
        resume="allow" if destination.mode == "online" else None,
        reinit="create_new",
        dir=str(folder),
        settings=settings(),
    )
    if not new:
        run.config.update(dict(config), allow_val_change=True)  # type: ignore[no-untyped-call]
    run.define_metric("epoch", hidden=True)
    for keys in ("train/*", "val/*", "epoch/*"):
        run.define_metric(keys, step_metric="epoch")
    return run


def remove_files(run: wandb.Run) -> None:
    """Remove W&B's own files of a run that has been sent."""
    if run.settings.mode == "online":
        shutil.rmtree(Path(run.settings.sync_dir), ignore_errors=True)
