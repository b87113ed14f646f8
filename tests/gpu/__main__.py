"""`python -m tests.gpu --out DIR`, or `python tests/gpu --out DIR`: run the kit. See README.md."""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from gpu.blocked import block_imports  # noqa: E402  # the two paths must be known before


def main() -> int:
    """Run the parts that the command line asks for; return 1 where something failed."""
    block_imports()
    import torch

    from gpu.machine import machine_rows
    from gpu.parts import PARTS
    from gpu.rows import read_rows, write_row
    from gpu.runner import Options, run_parts
    from gpu.table import summary

    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description="Prove and measure all that needs a GPU.")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of the results; it is emptied")
    parser.add_argument("--only", action="append", choices=[part.name for part in PARTS], help="run this part; repeatable")
    parser.add_argument(
        "--skip", action="append", default=[], choices=[part.name for part in PARTS], help="leave out; repeatable"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all (default: 8)")
    parser.add_argument("--jobs", type=int, help="parts at once where time is not measured (default: 4 on a GPU, else 1)")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes; always so without a GPU")
    options = parser.parse_args()
    start, cuda = time.monotonic(), torch.cuda.is_available()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    for row in machine_rows():
        write_row(options.out / "results.jsonl", "machine", row)
    chosen = [part for part in PARTS if part.name in (options.only or [part.name]) and part.name not in options.skip]
    cores = len(os.sched_getaffinity(0))
    jobs = options.jobs or (4 if cuda else 1)
    out, seconds = options.out.resolve(), 60 * options.minutes - (time.monotonic() - start)
    run_parts(
        chosen,
        Options(out, "cuda" if cuda else "cpu", max(1, cores // jobs) if cuda else 1, options.tiny or not cuda, jobs, seconds),
    )
    print(*summary(out), f"{time.monotonic() - start:.0f} s in all; results in {options.out}", sep="\n", flush=True)
    return int(any(result.row.passed is False for result in read_rows(out / "results.jsonl")))


if __name__ == "__main__":
    sys.exit(main())
