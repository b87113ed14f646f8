"""The machine that this process runs on: its processor, and how busy and how full it is."""

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

from segsweep.training.device import Device, cores

CPUINFO, CPU_NAME = Path("/proc/cpuinfo"), re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)
RESIDENT = {"now": re.compile(r"^VmRSS:\s*(\d+) kB", re.MULTILINE), "peak": re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def cpu_name() -> str | None:
    """Return the name of the processor; None if the system does not tell it."""
    with suppress(OSError):
        found = CPU_NAME.search(CPUINFO.read_text(encoding="utf-8", errors="replace"))
        return found[1].strip() if found else platform.processor() or None
    return platform.processor() or None


def device_label(device: Device) -> str | None:
    """Return the device's label as workers record it; None for a GPU that only other machines have."""
    try:
        return device.label
    except (AssertionError, RuntimeError):  # torch sees no GPU here
        return None


def device_kind(device: Device) -> str:
    """Return the kind of a device, on which equal work takes equal time: the GPU's name, or the CPU's with the threads.

    It is `cuda` for a GPU that only other machines have.
    """
    name = None if device.cuda else cpu_name()
    label = device_label(device) or device.name
    return f"{label}, {name}" if name else label


def load_per_core() -> float | None:
    """Return the machine's load average of the last minute divided by the cores; None where the system has none."""
    with suppress(OSError, AttributeError):
        return os.getloadavg()[0] / cores()
    return None


def resident_bytes(which: str = "now") -> int | None:
    """Return the resident memory of this process, `now` or its `peak`; None outside Linux."""
    with suppress(OSError):
        found = RESIDENT[which].search(STATUS.read_text(encoding="utf-8"))
        return 1024 * int(found[1]) if found else None
    return None


def forget_peak() -> None:
    """Begin a new measurement of the peak of resident memory, where the system allows it."""
    with suppress(OSError):
        CLEAR.write_text("5", encoding="utf-8")
