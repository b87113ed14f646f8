"""`python -m tests.gpu --out DIR`, or `python tests/gpu --out DIR`: run the kit. See README.md."""

import argparse
import os
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from gpu.blocked import block_imports  # noqa: E402  # the two paths must be set before
from gpu.parts import PARTS  # noqa: E402
from gpu.rows import read_rows, write_row  # noqa: E402
from gpu.runner import Options, run_parts  # noqa: E402
from gpu.table import summary  # noqa: E402

FILES = ("results.jsonl", "results.md", "log.txt", "profile.txt")
JOBS_ON_A_GPU = 6


def main() -> int:
    """Run the parts that the command line selects; return 1 if a check failed."""
    start, asked = time.monotonic(), _parser().parse_args()
    block_imports()
    import torch

    from gpu.machine import machine_rows

    out, cuda = asked.out.resolve(), torch.cuda.is_available()
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (out / name).unlink(missing_ok=True)
    for row in machine_rows():
        write_row(out / "results.jsonl", "machine", row)
    jobs = asked.jobs or (JOBS_ON_A_GPU if cuda else 1)
    threads = max(1, len(os.sched_getaffinity(0)) // jobs) if cuda else 1
    left = 60 * asked.minutes - (time.monotonic() - start)
    options = Options(out, "cuda" if cuda else "cpu", threads, asked.tiny or not cuda, jobs, left)
    run_parts([part for part in PARTS if part.name in (asked.only or [part.name]) and part.name not in asked.skip], options)
    print(f"{time.monotonic() - start:.0f} s in all; results in {asked.out}", *summary(out), sep="\n", flush=True)
    return int(any(result.row.passed is False for result in read_rows(out / "results.jsonl")))


def _parser() -> argparse.ArgumentParser:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m tests.gpu", description="Prove and measure all that needs a GPU.")
    add = parser.add_argument
    add("--out", type=Path, default=Path("gpu-results"), metavar="DIR", help="folder of the results; replaces earlier ones")
    add("--only", action="append", choices=names, metavar="PART", help=f"run this part; repeatable; of {', '.join(names)}")
    add("--skip", action="append", default=[], choices=names, metavar="PART", help="leave this part out; repeatable")
    add("--minutes", type=float, default=8.0, help="time for all (default: 8)")
    add("--jobs", type=int, help=f"parts at once where time is not measured (default: {JOBS_ON_A_GPU} on a GPU, else 1)")
    add("--tiny", action="store_true", help="tiny sizes; always so without a GPU")
    return parser


if __name__ == "__main__":
    sys.exit(main())
