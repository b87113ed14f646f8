"""The options of `segsweep datasets` and `segsweep prepare`."""

import argparse
from typing import get_args

from segsweep.config.setting_types import Fit

SHEET_IMAGES = 8  # of a contact sheet


def add_arguments(datasets: argparse.ArgumentParser, prepared: argparse.ArgumentParser) -> None:
    """Give both commands their options."""
    for parser in (datasets, prepared):
        parser.add_argument(
            "--data", action="append", default=[], metavar="ROOT|NAME=PATH", help="where datasets lie; repeatable"
        )
        parser.add_argument("--json", action="store_true", help="print JSON for a program")
    add = prepared.add_argument
    add("names", nargs="+", metavar="NAME", help="a dataset's name, NAME/CLASSES, or folder:PATH")
    add("--image-px", type=int, default=256, help="size of the squares (default: 256)")
    add("--fit", choices=get_args(Fit), help="how images become square (default: the dataset's own way)")
    add("--classes", metavar="SCHEME", help="class scheme (default: the dataset's first)")
    add("--store", default="store", metavar="DIR", help="folder of artifacts (default: store)")
    add("--download", action="store_true", help="fetch what is not found and public: pets, voc2012, cifar10")
    add("--contact-sheet", metavar="DIR", help=f"write a PNG of {SHEET_IMAGES} images and their masks here")
