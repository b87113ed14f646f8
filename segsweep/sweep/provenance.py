"""How a study was started: its question, and the command, versions, commit and hardware of each start."""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from segsweep.sweep.runners import Runner
from segsweep.training.device import cores
from segsweep.training.machine import cpu_name
from segsweep.version import installed_versions

GIT_SECONDS = 5.0  # time limit of a query, so that a hanging disk does not delay the start
HIDDEN = "***"
SECRET = re.compile(r"(?:^|[-_])(?:api_?key|key|token|secret|password|passwd|credentials?)(?:$|[-_])", re.IGNORECASE)
USER_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")


def question_of_script() -> str | None:
    """Return the first line of the docstring of the study file that this process runs; None without a file or a docstring."""
    script = _script()
    lines = (script.__doc__ or "").strip().splitlines() if script is not None else []
    return lines[0].strip() if lines else None


def start_facts(runner: Runner) -> dict[str, Any]:
    """Return how this process runs a study, as plain values.

    `command`, without the values of options that are named like secrets (None in a notebook); `versions` by package; `git`: the
    `commit` of the folder of the study file, and whether it has `uncommitted` changes (None if it is no repository); `hardware`.
    """
    script, is_file = _script(), hasattr(sys.modules.get("__main__"), "__file__")
    return {
        "command": shlex.join(without_secrets(sys.orig_argv)) if is_file else None,
        "versions": installed_versions(),
        "git": None if script is None else git_state(Path(str(script.__file__))),
        "hardware": {
            "system": platform.platform(),
            "cpu": cpu_name(),
            "cores": cores(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "device": runner.device.label,
            "workers": runner.label,
        },
    }


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """Return arguments with the values of options such as `--token`, and user names and passwords in URLs, replaced by `***`."""
    shown, hide = [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        secret = SECRET.search(name.lstrip("-")) is not None
        if hide and not argument.startswith("-"):
            argument = HIDDEN
        elif secret and equals:
            argument = f"{name}={HIDDEN}"
        shown.append(USER_IN_URL.sub(f"{HIDDEN}@", argument))
        hide = secret and not equals and argument.startswith("-")
    return shown


def git_state(file: Path) -> dict[str, Any] | None:
    """Return the commit of the repository with a file, and whether the file or any tracked file differs from it.

    None if the file is in no repository with a commit, or git is missing or does not answer.
    """
    described = _git(file, "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*")
    if not described:
        return None
    untracked = _git(file, "status", "--porcelain", "--ignored", "--", file.name)
    return {"commit": described.removesuffix("+"), "uncommitted": described.endswith("+") or bool(untracked)}


def _git(file: Path, *arguments: str) -> str | None:
    """Return the output of a query in the folder of a file; None if it fails. The repository is not changed."""
    with suppress(OSError, subprocess.SubprocessError, UnicodeError):
        ended = subprocess.run(
            ["git", "-C", str(file.absolute().parent), *arguments],
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
        return ended.stdout.strip()
    return None


def _script() -> ModuleType | None:
    """Return the main module if it is a study file: a file that names something of segsweep, unlike pytest or a notebook."""
    main = sys.modules.get("__main__")
    if main is None or not getattr(main, "__file__", None):
        return None
    origins = (getattr(value, "__module__", None) or getattr(value, "__name__", None) for value in vars(main).values())
    return main if any(str(origin).partition(".")[0] == "segsweep" for origin in origins) else None
