"""Facts of the machine: card, driver, versions."""

import platform
import subprocess
from collections.abc import Iterator

import torch

from gpu.rows import Row, note


def machine_rows() -> Iterator[Row]:
    """Yield card, driver and versions; "no GPU" without a card."""
    yield note("! card", torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield note("driver", _asked_of_driver("driver_version"))
        yield note("compute mode", _asked_of_driver("compute_mode"))
        yield note("memory free / in all", f"{free / 2**30:.1f} / {total / 2**30:.1f}", "GiB")
        yield note("compute capability", ".".join(map(str, torch.cuda.get_device_capability())))
        yield note("cuDNN", torch.backends.cudnn.version())
    for name in ("torch", "torchvision", "timm", "numpy", "segmentation_models_pytorch", "kornia", "pydantic"):
        yield note(name, _version(name))
    yield note("Python", platform.python_version())


def _asked_of_driver(field: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        return f"unknown ({type(error).__name__})"


def _version(name: str) -> str:
    from importlib import import_module

    try:
        return str(import_module(name).__version__)
    except (ImportError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
