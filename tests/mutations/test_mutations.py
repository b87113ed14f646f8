"""Break one important line after the other: the test that the list names must fail, and must pass with the line as it is.

The quick tests check the list itself; the slow ones break the lines, in a copy of the repository: see tests/README.md.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mutations.rows import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("segsweep", "sweeps", "tests", "pyproject.toml")
FAILED = 1  # pytest's exit code if tests ran and some failed
SECONDS = 240  # limit of one process, on a busy machine

each_mutation = pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: f"{mutation.file}: {mutation.guarantee}")


def name_of(mutation: Mutation) -> str:
    """Return the name of a mutation's test, without its parameters."""
    return mutation.test.rpartition("::")[2].partition("[")[0]


@each_mutation
def test_a_row_names_one_text_and_one_test(mutation):
    """The code occurs once in its file, the broken file compiles, and the test exists under its name."""
    content = (ROOT / "segsweep" / mutation.file).read_text(encoding="utf-8")
    assert content.count(mutation.code) == 1
    compile(content.replace(mutation.code, mutation.broken), mutation.file, "exec")
    tests = ast.parse((ROOT / "tests" / mutation.test.partition("::")[0]).read_text(encoding="utf-8"))
    assert name_of(mutation) in {node.name for node in ast.walk(tests) if isinstance(node, ast.FunctionDef)}


def table() -> str:
    """Return the table of the README."""
    rows = (f"| {row.guarantee} | `{row.file}` | `{row.test.partition('::')[0]}::{name_of(row)}` |" for row in MUTATIONS)
    return "\n".join(["| guarantee | file in `segsweep/` | test in `tests/` |", "|---|---|---|", *rows, ""])


def test_the_readme_lists_the_mutations():
    """The README of the tests has the table of all mutations."""
    readme = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    assert f"\n\n{table()}\n" in readme, f"replace the table in tests/README.md by:\n{table()}"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its tests. Compiled files are compared by content: a broken file may keep size and time."""
    folder = tmp_path_factory.mktemp("mutations")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    compiled = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "segsweep", "tests"]
    subprocess.run(compiled, cwd=folder, check=True)
    return folder


def run_tests(copy: Path, *tests: str) -> tuple[int, dict[str, str], str]:
    """Run tests of the copy in a process; return its exit code, the outcome of each test by its name, and its output."""
    report = copy / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", f"--junitxml={report}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    environment |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, *(f"tests/{test}" for test in tests)],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        found = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = found
    return ended.returncode, outcomes, ended.stdout


@pytest.fixture(scope="module")
def passing(copy: Path) -> dict[str, str]:
    """The outcomes of all tests of the list without a mutation, from one process."""
    code, outcomes, output = run_tests(copy, *dict.fromkeys(mutation.test for mutation in MUTATIONS))
    assert code in (0, FAILED), output
    return outcomes


@contextmanager
def broken(copy: Path, mutation: Mutation) -> Iterator[None]:
    """Break one line of the copy."""
    path = copy / "segsweep" / mutation.file
    content = path.read_text(encoding="utf-8")
    path.write_text(content.replace(mutation.code, mutation.broken), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(content, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
@each_mutation
def test_a_broken_line_is_caught(mutation, copy, passing):
    """The named test passes as long as the line is as it is, and fails, without an error of its set-up, once it is broken."""
    with broken(copy, mutation):
        code, outcomes, output = run_tests(copy, mutation.test)
    assert code == FAILED, output
    assert set(outcomes) <= set(passing), output
    assert {passing[name] for name in outcomes} == {"passed"}, "the test does not pass with the line as it is"
    assert "failure" in outcomes.values(), output
    assert "error" not in outcomes.values(), output
