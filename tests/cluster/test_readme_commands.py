"""The commands of `cluster/README.md` for a Ray cluster, as printed, by a new user on a new machine."""

import subprocess

import pytest
from machines import MINUTES, PROJECT, Machines, require


@pytest.fixture(scope="module")
def machine_names() -> list[str]:
    """One new machine, on which nothing else uses Ray's ports."""
    return ["new"]


def commands() -> str:
    """Return the shell block of `cluster/README.md` that starts a cluster and submits a job."""
    blocks = (PROJECT / "cluster" / "README.md").read_text(encoding="utf-8").split("```sh\n")[1:]
    (block,) = (text for block in blocks if "ray start --head\n" in (text := block.split("```")[0]))
    return block


@pytest.mark.timeout(12 * MINUTES)
def test_the_pages_commands_work_as_printed(machines: Machines) -> None:
    """In an empty home folder and a fresh clone, the block starts a cluster with a token that only the user can read, and the job
    ends with its table; without the token, access is denied."""
    require("git")
    clone, home = machines.shared / "clone", machines.shared / "home"
    subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
    home.mkdir()
    mine = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    output = machines.run("new", "bash", "-ec", commands(), cwd=clone, timeout=11 * MINUTES, **mine)
    assert "succeeded" in output
    assert "val IoU" in output
    assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    assert (home / "segsweep" / "runs").is_dir()
    machines.run("new", "ray", "job", "list", RAY_AUTH_MODE="token", **mine)
    refused = machines.run("new", "ray", "job", "list", code=1, HOME=str(machines.shared))
    assert "Unauthenticated" in refused
