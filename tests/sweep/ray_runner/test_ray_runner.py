"""The Ray runner fulfils the contract of runners."""

import pytest
from contracts.runner import RunnerContract


@pytest.mark.usefixtures("cluster")
class TestRayRunner(RunnerContract):
    """The Ray runner with two workers, or one."""

    options = {"runner": "ray", "max_concurrent": 2}
    one_worker = {"max_concurrent": 1}
