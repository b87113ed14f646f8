"""Devices, precision, threads, and the deterministic mode."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from segsweep.errors import UserError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
FIXED_WORKSPACES = (":4096:8", ":16:8")  # with which cuBLAS repeats its results, by NVIDIA's documentation


@dataclass(frozen=True)
class Device:
    """Where a model runs: `name` is a torch device, `threads` how many CPU threads its work may use.

    A `deterministic` device computes the same numbers again, to the last bit, as far as torch has algorithms for that; torch
    warns with the name of an operation that has none. On a GPU this costs speed; CPUs, with equal threads, do so anyway.
    """

    name: str
    threads: int
    deterministic: bool = False

    @property
    def torch(self) -> torch.device:
        """The torch device."""
        return torch.device(self.name)

    @property
    def cuda(self) -> bool:
        """Whether it is an NVIDIA (or ROCm) GPU."""
        return self.torch.type == "cuda"

    @property
    def label(self) -> str:
        """What records call the device: the GPU's name, or the CPU with its threads; and whether it is deterministic."""
        name = torch.cuda.get_device_name(self.torch) if self.cuda else f"cpu x{self.threads}"
        return f"{name}, deterministic" if self.deterministic else name

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of a process must hold before CUDA starts in it."""
        return {WORKSPACE: FIXED_WORKSPACES[0]} if self.cuda and self.deterministic else {}

    def set_up(self) -> None:
        """Set torch's threads in this process, and have GPUs compute float32 in full: TF32 would cut its mantissa to 10 bits.

        A deterministic device switches on torch's deterministic algorithms, until `switches_restored` ends. Raises `UserError`
        where CUDA has started in this process without what cuBLAS needs for that.
        """
        if self.deterministic:
            _be_deterministic(self.cuda)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if self.cuda:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False

    def wait(self) -> None:
        """Wait until the device has done all that it was given, so that a clock can be read."""
        if self.cuda:
            torch.cuda.synchronize(self.torch)


def _be_deterministic(cuda: bool) -> None:
    """Switch on torch's deterministic algorithms.

    An operation without one warns instead of failing: the sum of a cross-entropy over a GPU's pixels has none, and no gradient
    depends on its rounding.
    """
    if cuda:
        workspace = os.environ.get(WORKSPACE)
        if workspace is None and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            raise UserError(
                f"--deterministic: CUDA has started in this process already; set {WORKSPACE}={FIXED_WORKSPACES[0]} before Python"
            )
        if workspace not in (None, *FIXED_WORKSPACES):
            raise UserError(f"--deterministic: {WORKSPACE}={workspace}; allowed are {', '.join(FIXED_WORKSPACES)}, or unset it")
        os.environ.setdefault(WORKSPACE, FIXED_WORKSPACES[0])  # read when CUDA starts
    torch.backends.cudnn.benchmark = False  # which would choose algorithms by the clock
    torch.use_deterministic_algorithms(True, warn_only=True)


@contextmanager
def switches_restored() -> Iterator[None]:
    """Leave torch's deterministic algorithms in this process as they were, whatever is set up in between."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str = "auto", threads: int | None = None, deterministic: bool = False) -> Device:
    """Return the device of a name: `auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises `UserError` for a GPU that is not there and for more threads than cores.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(f"--device {name}: allowed are auto, cpu, cuda, cuda:N")
    if kind == "cuda" and (not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count()):
        raise UserError(f"--device {name}: torch sees {torch.cuda.device_count()} GPUs here; use --device cpu")
    if threads is not None and not 1 <= threads <= cores():
        raise UserError(f"--threads {threads}: this machine gives {cores()} cores; allowed are 1..{cores()}")
    return Device(name, threads or cores(), deterministic)


def resolve_precision(precision: str, device: Device) -> str:
    """Return `float32` or `bfloat16`: `auto` is bfloat16 on GPUs that compute in it, float32 elsewhere."""
    if precision != "auto":
        return precision
    supported = device.cuda and torch.cuda.is_bf16_supported(including_emulation=False)  # emulated, as before Ampere, it is slow
    return "bfloat16" if supported else "float32"
