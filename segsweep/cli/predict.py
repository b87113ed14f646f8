"""`segsweep predict`: apply a study's best confirmed run to a folder of images."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from segsweep.cli.exits import INCOMPLETE
from segsweep.inference.predict import predict as predict_images
from segsweep.records.find import find_study
from segsweep.records.reader import load
from segsweep.sweep.progress import choose_view


def predict(options: argparse.Namespace, console: Console) -> None:
    """Predict the images of a folder, and print where the masks are. Exit with 1 if an image cannot be read."""
    records = load(find_study(options.study))
    view = choose_view(console)
    try:
        done = predict_images(
            records,
            options.images,
            options.out or Path("predictions") / records.study["name"],
            trial=options.trial,
            probabilities=options.probabilities,
            store=options.store,
            device=options.device,
            log=lambda line: console.print(line, soft_wrap=True),
            progress=view.data,
        )
    finally:
        view.close()
    run = done.trial
    print(f"{done.folder}: {len(done.images)} images, predicted by trial {run['trial_id']} ({run['cell']})")
    if done.failed:
        names = ", ".join(row["image"] for row in done.failed)
        total = len(done.failed) + len(done.images)
        console.print(f"{len(done.failed)} of {total} images could not be read: {names}", soft_wrap=True)
        sys.exit(INCOMPLETE)
