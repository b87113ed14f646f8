"""The inline runner fulfils the contract of runners."""

from contracts.runner import RunnerContract


class TestInlineRunner(RunnerContract):
    """The inline runner."""

    options = {"runner": "inline"}
