"""`segsweep models`: list the architectures, and the cost of each."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console


def models(options: argparse.Namespace, console: Console) -> None:  # noqa: ARG001
    """Print a table of architectures with their parameters and multiply-adds, or the decoders and encoders to combine."""
    from segsweep.models.architectures import NAMED
    from segsweep.models.measure import measure

    if options.encoders:
        _print_encoders()
        return
    costs = [measure(name, options.classes, options.image_px, options.freeze) for name in options.names or NAMED]
    if options.json:
        print(json.dumps([asdict(cost) for cost in costs], indent=1))
        return
    rows = [
        (
            cost.name,
            f"{cost.trainable_parameters:,}",
            f"{cost.total_parameters:,}",
            f"{cost.encoder_parameters:,}",
            f"{cost.head_parameters:,}",
            f"{cost.gmacs:.1f}",
            f"{cost.encoder_gmacs:.1f}",
            f"{cost.head_gmacs:.1f}",
            str(cost.output_stride),
            str(cost.encoder_levels),
        )
        for cost in costs
    ]
    print(_table(rows, [NAMED.get(cost.name, "") for cost in costs]))
    print(
        f"\n{options.classes} classes, freeze={options.freeze}; GMACs: 10^9 multiply-adds for one image of "
        f"{options.image_px} px; output stride: of the deepest features; encoder levels: the K of freeze=encoder:K.\n"
        "More decoders and encoders can be combined: segsweep models --encoders"
    )


def _table(rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Return rows of numbers as an aligned table with two heading lines; each row ends with its note."""
    groups = ("", "parameters", "", "", "", "GMACs", "", "", "output", "encoder")
    heads = ("architecture", "trainable", "total", "encoder", "head", "total", "encoder", "head", "stride", "levels")
    lines = [groups, heads, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    text = []
    for line, note in zip(lines, ("", "", *notes), strict=True):
        figures = "  ".join(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        text.append(f"{line[0]:{widths[0]}}  {figures}  {note}".rstrip())
    return "\n".join(text)


def _print_encoders() -> None:
    from segsweep.models.architectures import PLAIN, architecture_names, encoder_names

    for name, width in PLAIN.items():
        print(f"{name:18} the plain U-Net, {width} to {16 * width} channels")
    print(f"whole networks: {', '.join(name for name in architecture_names() if 'ENCODER' not in name and name not in PLAIN)}")
    print(f"DECODER-ENCODER: {', '.join(name for name in architecture_names() if 'ENCODER' in name)}")
    print(f"with ENCODER one of {', '.join(encoder_names())}, or tu-NAME for any encoder of timm")
