"""Names of work in Ray's dashboard and in `ray list tasks`."""

import re

from ray.util.state import list_tasks


def test_ray_lists_each_task_by_its_cell_its_progress_and_its_device(script, cluster) -> None:
    """The steps of trials, stages and scores are listed by cell, seed, epoch and device."""
    script().run("--max-concurrent", "2")
    names = {task.name for task in list_tasks(cluster, filters=[("type", "=", "ACTOR_TASK")], limit=10_000)}
    for pattern in (
        r"segsweep: stage supervised:folder:\S+ for unet4, after epoch 40, on cpu x1",
        r"segsweep: tune source=random lr=\S+ seed=0, epoch 2 of 4, on cpu x1",
        r"segsweep: confirm source=supervised:\S+ lr=\S+ seed=1, after epoch 4 of 4, on cpu x1",
        r"segsweep: scores of random for unet4 at 32 px on 100 % of the training images",
    ):
        assert any(re.fullmatch(pattern, name) for name in names), pattern
