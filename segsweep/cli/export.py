"""`segsweep export`: write a study's best model for plain torch, or its records for another tool."""

import argparse
from pathlib import Path

from rich.console import Console

from segsweep.cli.exits import announce_start
from segsweep.errors import UserError
from segsweep.records.find import find_study
from segsweep.records.reader import load


def export(options: argparse.Namespace, console: Console) -> None:
    """Write a study's best model (`--best`), or its records for another tool (`--to`), and print where."""
    if unused := "--store" if options.to and options.store else "--out" if options.best and options.out else None:
        raise UserError(f"{unused}: only allowed with {'--best' if options.to else '--to'}; omit it")
    records = load(find_study(options.study))
    if options.to:
        from segsweep.report.exports import export_records

        for line in export_records(records, options.to, Path(options.out) if options.out else None):
            print(line)
        return
    announce_start(console)
    from segsweep.inference.export import export as export_model  # loads torch

    folder = export_model(records, options.best, store=options.store)
    print(f"{folder}: model.pt2, weights.safetensors, card.json, README.md")
