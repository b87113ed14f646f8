"""The arguments of `segsweep settings`."""

import argparse


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """Add them to the command's parser."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="show these settings alone (default: all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of JSON objects: name, default, allowed, meaning")
    form.add_argument("--markdown", action="store_true", help="print a table in Markdown, as in sweeps/README.md")
