"""The device, size and folders of a part."""

import gc
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from segsweep.training.device import Device

Size = TypeVar("Size")


@dataclass(frozen=True)
class PartContext:
    """The device of a part, whether it runs at tiny size, a scratch `folder`, and the folder `out` of the results.

    `end` is the time at which the part is stopped, by `time.monotonic`, which all processes of a machine share.
    """

    device: Device
    tiny: bool
    folder: Path
    out: Path
    end: float = math.inf

    @property
    def seconds_left(self) -> float:
        """The seconds until the part is stopped."""
        return self.end - time.monotonic()

    def size(self, full: Size, tiny: Size) -> Size:
        """Return the first size, or the second for tiny runs."""
        return tiny if self.tiny else full

    @property
    def results(self) -> Path:
        """The file of all rows so far."""
        return self.out / "results.jsonl"

    def release(self) -> None:
        """Free all unreferenced GPU memory, so that checks do not affect each other."""
        gc.collect()
        if self.device.cuda:
            torch._C._cuda_clearCublasWorkspaces()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
