"""The inline runner keeps the contract of runners."""

from contracts.runner import RunnerContract


class TestInlineRunner(RunnerContract):
    """The inline runner."""

    options = {"runner": "inline"}
