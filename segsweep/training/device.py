"""Devices, precision, threads, and the deterministic mode."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from segsweep.errors import UserError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
FIXED_WORKSPACES = (":4096:8", ":16:8")  # cuBLAS is deterministic with these only, according to NVIDIA's documentation


@dataclass(frozen=True)
class Device:
    """The device on which a model runs: `name` is a torch device, `threads` the number of CPU threads.

    `gpu_name` is the name of a GPU that is elsewhere; None asks torch for it.

    A `deterministic` device reproduces its numbers bit by bit as far as torch has deterministic algorithms; torch warns with the
    name of an operation that has none. On a GPU this costs speed. A CPU is deterministic anyway for an equal number of threads.
    """

    name: str
    threads: int
    deterministic: bool = False
    gpu_name: str | None = None

    @property
    def torch(self) -> torch.device:
        """The torch device."""
        return torch.device(self.name)

    @property
    def cuda(self) -> bool:
        """Whether the device is an NVIDIA (or ROCm) GPU."""
        return self.torch.type == "cuda"

    @property
    def label(self) -> str:
        """The device's name in records: the GPU's name, or the CPU with its threads; and whether it is deterministic."""
        name = (self.gpu_name or torch.cuda.get_device_name(self.torch)) if self.cuda else f"cpu x{self.threads}"
        return f"{name}, deterministic" if self.deterministic else name

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that a process needs before CUDA starts in it."""
        return {WORKSPACE: FIXED_WORKSPACES[0]} if self.cuda and self.deterministic else {}

    def set_up(self) -> None:
        """Set torch's threads in this process, and switch off TF32 on GPUs, which would cut float32's mantissa to 10 bits.

        A deterministic device switches on torch's deterministic algorithms, until `switches_restored` ends. Raises `UserError`
        if CUDA has started in this process without the cuBLAS workspace that determinism needs.
        """
        if self.deterministic:
            _be_deterministic(self.cuda)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if self.cuda:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False

    def wait(self) -> None:
        """Wait until the device has finished all queued work, so that a clock can be read."""
        if self.cuda:
            torch.cuda.synchronize(self.torch)


def _be_deterministic(cuda: bool) -> None:
    """Switch on torch's deterministic algorithms.

    An operation without one warns instead of failing: the sum of the cross-entropy over pixels has none on GPUs, but no gradient
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
        os.environ.setdefault(WORKSPACE, FIXED_WORKSPACES[0])  # CUDA reads it when it starts
    torch.backends.cudnn.benchmark = False  # the benchmark would choose algorithms by measured time
    torch.use_deterministic_algorithms(True, warn_only=True)


@contextmanager
def switches_restored() -> Iterator[None]:
    """Restore torch's determinism switches in this process at the end, whatever was set in between."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str = "auto", threads: int | None = None, deterministic: bool = False) -> Device:
    """Return the device of a name: `auto` (a GPU if there is one, otherwise the CPU), `cpu`, `cuda` or `cuda:N`.

    `threads` is the number of CPU threads, by default all cores. Raises `UserError` for an unknown name, for a GPU that does not
    exist, and for more threads than cores.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise UserError(f"--device {name}: allowed are auto, cpu, cuda, cuda:N")
    if kind == "cuda" and (not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count()):
        raise UserError(f"--device {name}: torch sees {torch.cuda.device_count()} GPUs here; use --device cpu")
    if threads is not None and not 1 <= threads <= cores():
        raise UserError(f"--threads {threads}: this process may use {cores()} cores; allowed are 1..{cores()}")
    return Device(name, threads or cores(), deterministic)


def resolve_precision(precision: str, device: Device) -> str:
    """Return `float32` or `bfloat16`: `auto` is bfloat16 on GPUs that support it in hardware, float32 elsewhere."""
    if precision != "auto":
        return precision
    supported = device.cuda and torch.cuda.is_bf16_supported(including_emulation=False)  # emulation, before Ampere, is slow
    return "bfloat16" if supported else "float32"
