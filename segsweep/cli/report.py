"""`segsweep report`: print a study's table, and write its report, its page and its clips."""

import argparse
from pathlib import Path

from rich.console import Console

from segsweep.records.find import find_study
from segsweep.records.reader import load
from segsweep.report.clips import write_clips
from segsweep.report.text import table_text
from segsweep.report.write import PAGE_FILE, write_report


def report(options: argparse.Namespace, console: Console) -> None:  # noqa: ARG001
    """Print a study's table, and write its report and clips into its folder, also while it runs; one in W&B is only printed."""
    records = load(find_study(options.study))
    if "store" not in records.study:  # from W&B: there is no folder to write into
        print(table_text(records))
        return
    store = Path(records.study["store"])
    print(write_report(records, store), flush=True)
    for line in write_clips(records, store):
        print(line)
    print(f"\nPage: {records.folder / PAGE_FILE}")
