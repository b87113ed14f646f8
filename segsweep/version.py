"""The version of segsweep, found without importing torch or Ray."""

import platform
from importlib.metadata import PackageNotFoundError, version

SHOWN = ("torch", "ray")  # the packages on which results and errors depend most


def segsweep_version() -> str:
    """Return the version of segsweep, or "not installed" for a checkout that is not installed."""
    return _installed("segsweep")


def versions() -> str:
    """Return the versions of segsweep, torch, Ray and Python in one line, as `--version` prints them."""
    others = ", ".join(f"{name} {_installed(name)}" for name in SHOWN)
    return f"segsweep {segsweep_version()} ({others}, Python {platform.python_version()})"


def installed_versions() -> dict[str, str]:
    """Return the versions of Python, of segsweep, and of the packages on which numbers depend most, by name."""
    packages = ("segsweep", *SHOWN, "numpy")
    return {"python": platform.python_version(), **{name: _installed(name) for name in packages}}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
