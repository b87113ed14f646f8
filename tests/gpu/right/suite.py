"""The tests with the marker `gpu`."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from gpu.part_context import PartContext
from gpu.rows import Row, equal, holds

TESTS = Path(__file__).parents[2]
CONFIG = "[pytest]\naddopts = --import-mode=importlib\nmarkers =\n    gpu: \n    slow: \n    timeout: \n"


class _Watch:
    """Counts outcomes, and keeps the last line of each failure."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            text = "" if report.outcome == "passed" else f": {str(report.longrepr).strip().splitlines()[-1]}"
            self.outcomes[report.nodeid] = report.outcome + text


def marked_tests(part_context: PartContext) -> Iterator[Row]:
    """Run the tests with the marker, with a configuration that needs no pytest plugin."""
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if "pytest.mark.gpu" in path.read_text(encoding="utf-8")]
    config = part_context.folder / "pytest.ini"
    config.write_text(CONFIG, encoding="utf-8")
    watch = _Watch()
    arguments = ["-c", config, "--rootdir", TESTS.parent, "-m", "gpu", "-q", "-p", "no:cacheprovider", *files]
    with patch.dict("os.environ", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"):
        code = pytest.main([str(argument) for argument in arguments], plugins=[watch])
    wanted = "passed" if part_context.device.cuda else "skipped"
    yield holds("pytest ends well", code in (0, 5), f"exit code {int(code)}")
    yield equal(
        "tests that ended otherwise than expected", sum(not each.startswith(wanted) for each in watch.outcomes.values()), 0
    )
    for name, outcome in watch.outcomes.items():
        yield holds(name.rpartition("/")[2], outcome.startswith(wanted), outcome[:300])


CHECKS = (marked_tests,)
