"""The options of `segsweep status` and `segsweep studies`."""

import argparse


def add_status_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `segsweep status` understands."""
    parser.add_argument(
        "study", metavar="STUDY", help="a study's folder, its name where it lies in runs/, or wandb:ENTITY/PROJECT"
    )
    parser.add_argument("--follow", action="store_true", help="go on until the study has ended; Ctrl-C ends this command alone")
    parser.add_argument("--json", action="store_true", help="one JSON object, for a program; with --follow one for every change")


def add_studies_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `segsweep studies` understands."""
    parser.add_argument("folder", nargs="?", default="runs", metavar="FOLDER", help="folder of studies (default: runs)")
    parser.add_argument("--json", action="store_true", help="one JSON list, for a program")
