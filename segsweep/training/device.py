"""Devices, precision and threads."""

import os
from dataclasses import dataclass

import torch

from segsweep.errors import UserError


@dataclass(frozen=True)
class Device:
    """Where a model runs: `name` is a torch device, `threads` how many CPU threads its work may use."""

    name: str
    threads: int

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
        """What records call the device: the GPU's name, or the CPU with its threads."""
        return torch.cuda.get_device_name(self.torch) if self.cuda else f"cpu x{self.threads}"

    def set_up(self) -> None:
        """Set torch's threads in this process, and have GPUs compute float32 in full: TF32 would cut its mantissa to 10 bits."""
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        if self.cuda:
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False

    def wait(self) -> None:
        """Wait until the device has done all that it was given, so that a clock can be read."""
        if self.cuda:
            torch.cuda.synchronize(self.torch)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(name: str = "auto", threads: int | None = None) -> Device:
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
    return Device(name, threads or cores())


def resolve_precision(precision: str, device: Device) -> str:
    """Return `float32` or `bfloat16`: `auto` is bfloat16 on GPUs that compute in it, float32 elsewhere."""
    if precision != "auto":
        return precision
    supported = device.cuda and torch.cuda.is_bf16_supported(including_emulation=False)  # emulated, as before Ampere, it is slow
    return "bfloat16" if supported else "float32"
