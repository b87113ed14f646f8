"""A plan on GPUs that this machine need not have: the times of their kind come from the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from segsweep.errors import UserError
from segsweep.store.contents import SPEEDS
from segsweep.store.protocol import SharedText, Store
from segsweep.sweep.inline import InlineRunner
from segsweep.sweep.options import Options
from segsweep.training.device import Device
from segsweep.training.speed_key import SpeedKey
from segsweep.training.timings import Probe, Timings, read_timings

HALF = "bfloat16"


@dataclass(frozen=True)
class PlannedGpus:
    """The GPUs for which `--plan` prices a study: their number, and their kind or a part of its name (None: the only one known).

    Raises `UserError` for a number below 1.
    """

    count: int
    kind: str | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"--gpus {self.count}: must be at least 1")


def gpu_kinds(timings: Timings) -> list[str]:
    """Return the kinds of GPUs with measurements, by name."""
    kinds = {SpeedKey.kind_in(key) for key in (*timings.tasks, *timings.probes)}
    return sorted(kind for kind in kinds if not kind.startswith("cpu "))


@contextmanager
def planned_runner(gpus: PlannedGpus, options: Options, at_most: int, store: Store) -> Iterator[InlineRunner]:
    """Yield a runner that describes GPUs of a kind that the store knows; it can only be used for planning.

    Raises `UserError` if the store has no measurement of the kind, or of work that the study needs.
    """
    timings = read_timings(store.text(SPEEDS))
    kind = _kind(gpus, gpu_kinds(timings), store)
    each = 1 if options.gpus_per_trial is None else max(1, round(1 / options.gpus_per_trial))
    workers = min(gpus.count * each, at_most, options.max_concurrent or at_most)
    keys = (key for key in (*timings.tasks, *timings.probes) if SpeedKey.kind_in(key) == kind)
    half = any(SpeedKey.precision_in(key) == HALF for key in keys)
    label = f"{gpus.count} x {kind}" + (f" with {workers} workers" if workers != gpus.count else "")
    device = Device("cuda", 1, gpu_name=kind)
    yield InlineRunner(device, workers, label, _known_probe, HALF if half else "float32")


def _kind(gpus: PlannedGpus, known: list[str], store: Store) -> str:
    """Return the known kind that `--gpu-kind` names by its name or a part of it, in any case."""
    wanted = (gpus.kind or "").lower()
    found = [kind for kind in known if kind.lower() == wanted] or [kind for kind in known if wanted in kind.lower()]
    if len(found) == 1:
        return found[0]
    option = f"--gpu-kind {gpus.kind}" if gpus.kind is not None else f"--gpus {gpus.count}"
    if len(found) > 1:
        raise UserError(f"{option}: names {len(found)} kinds of GPUs: {', '.join(found)}; choose one with --gpu-kind")
    measured = ", ".join(known) or "none"
    raise UserError(f"{option}: the store has no measurement of such a GPU; measured are: {measured}. {_remedy(store.location)}")


def _known_probe(key: SpeedKey, device: Device, text: SharedText) -> Probe:
    """Return the probe of a key that the store has, of any age. Raises `UserError` if it has none."""
    if (probe := read_timings(text).probes.get(key.text)) is not None:
        return probe
    work = f"{key.model} at {key.image_px} px, batch size {key.batch_size}, freeze={key.policy}, {key.precision}"
    raise UserError(f"--gpu-kind {device.label}: {work} is not measured on it. {_remedy(text.location)}")


def _remedy(place: str) -> str:
    return f"The same command with --plan and without --gpus, on a machine with such a GPU, measures it into {place}"
