"""The process of one part: `python -m gpu.part NAME ...`. It writes every row as soon as it is known."""

import argparse
import math
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gpu.blocked import block_imports
from gpu.part_context import PartContext
from gpu.parts import PARTS, Check
from gpu.rows import Row, note, write_row

HERE = Path(__file__).parent


def main() -> None:
    """Run the part of the command line."""
    parser = argparse.ArgumentParser(prog="python -m gpu.part")
    parser.add_argument("name", choices=[part.name for part in PARTS])
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--end", type=float, default=math.inf, help="when the part is stopped, by time.monotonic")
    options = parser.parse_args()
    block_imports()
    from segsweep.training.device import Device

    part = next(part for part in PARTS if part.name == options.name)
    with tempfile.TemporaryDirectory(prefix=f"gpu-{part.name}-") as folder:
        part_context = PartContext(Device(options.device, options.threads), options.tiny, Path(folder), options.out, options.end)
        emit = partial(write_row, part_context.results, part.name)
        try:
            part_context.device.set_up()
            checks = part.checks()
        except Exception as error:  # a module is missing on this machine, or the driver is broken
            traceback.print_exc(file=sys.stderr)
            emit(failure("start", error))
            return
        run_checks(checks, part_context, emit)


def run_checks(checks: tuple[Check, ...], part_context: PartContext, emit: Callable[[Row], None]) -> None:
    """Run checks one after the other and emit their rows; a check that raises becomes a failed row."""
    for check in checks:
        start = time.perf_counter()
        try:
            for row in check(part_context):
                emit(row)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            emit(failure(check.__name__, error))
        part_context.release()
        emit(note(f"time of {check.__name__}", round(time.perf_counter() - start, 2), "s"))


def failure(what: str, error: BaseException) -> Row:
    """Return the row of an error: its type, its first line, the line that raised it, and the last line of this repository before
    it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename and "/lib/python" not in frame.filename]
    places = [f"{_short(frame.filename)}:{frame.lineno}" for frame in (*ours[-1:], *frames[-1:])]
    message = (str(error).strip().splitlines() or [""])[0]
    return Row(what, f"{type(error).__name__}: {message} ({' > '.join(dict.fromkeys(places))})"[:600], "", "no error", False)


def _short(filename: str) -> str:
    path = Path(filename)
    root = HERE.parents[1]
    return str(path.relative_to(root)) if path.is_relative_to(root) else "/".join(path.parts[-3:])


if __name__ == "__main__":
    main()
