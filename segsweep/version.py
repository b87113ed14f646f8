"""The version of segsweep, without importing what it runs on."""

import platform
from importlib.metadata import PackageNotFoundError, version

SHOWN = ("torch", "ray")  # on whose versions results and errors depend most


def segsweep_version() -> str:
    """Return the version of segsweep; it may also run from a checkout that is not installed."""
    return _installed("segsweep")


def versions() -> str:
    """Return the version of segsweep and of what it runs on, in one line, as `--version` prints it."""
    others = ", ".join(f"{name} {_installed(name)}" for name in SHOWN)
    return f"segsweep {segsweep_version()} ({others}, Python {platform.python_version()})"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
