"""The options of `segsweep models`."""

import argparse
from collections.abc import Callable


def add_models_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `segsweep models` understands."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures (default: those of the papers, and more)")
    parser.add_argument("--classes", type=_at_least(1), default=2, metavar="N", help="number of classes (default: 2)")
    parser.add_argument("--freeze", default="none", metavar="POLICY", help="none, encoder, encoder:K or norm (default: none)")
    parser.add_argument("--image-px", type=_at_least(16), default=256, metavar="PX", help="side of the pictures (default: 256)")
    parser.add_argument("--json", action="store_true", help="one JSON list, for a program")
    parser.add_argument("--encoders", action="store_true", help="list what decoders and encoders can be combined instead")


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least {least}")
        return int(text)

    return number
