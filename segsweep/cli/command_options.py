"""The options of the `segsweep` commands. This module must import nothing that takes long."""

import argparse
from collections.abc import Callable
from typing import get_args

from segsweep.cli.completion import SHELLS
from segsweep.cli.mirror_options import add_mirror_options
from segsweep.config.setting_types import Fit

Parser = argparse.ArgumentParser

SHEET_IMAGES = 8  # images on a contact sheet
STUDY = "a study's folder, or its name in runs/"
STUDY_OR_MIRROR = "a study's folder, its name in runs/, or wandb:ENTITY/PROJECT"


def add_init_options(parser: Parser) -> None:
    """Add the options of `segsweep init`."""
    parser.add_argument("name", metavar="NAME", help="name of the study; the file is NAME.py in the current folder")
    parser.add_argument("--target", metavar="FOLDER", help="folder of the target: images/ and masks/, or images and a COCO file")


def add_datasets_options(parser: Parser) -> None:
    """Add the options of `segsweep datasets`."""
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="ROOT|NAME=PATH",
        help="folder that contains datasets, or the path of one dataset; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_prepare_options(parser: Parser) -> None:
    """Add the options of `segsweep prepare`."""
    add_datasets_options(parser)
    add = parser.add_argument
    add("names", nargs="+", metavar="NAME", help="name of a dataset, NAME/CLASSES, or folder:PATH")
    add("--image-px", type=int, default=256, help="side of the square images, in pixels (default: 256)")
    add("--fit", choices=get_args(Fit), help="how images are made square (default: the dataset's own fit)")
    add("--classes", metavar="SCHEME", help="class scheme (default: the first one of the dataset)")
    add("--store", default="store", metavar="DIR", help="folder of artifacts (default: store)")
    add("--download", action="store_true", help="download public datasets that are not found: pets, voc2012, cifar10")
    add("--contact-sheet", metavar="DIR", help=f"write a PNG with {SHEET_IMAGES} images and their masks into this folder")


def add_fetch_options(parser: Parser) -> None:
    """Add the options of `segsweep fetch`."""
    parser.add_argument("script", metavar="STUDY.py", help="the script of a study")
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="...", help="options of the script, such as --data ROOT, --set, --preset"
    )


def add_verify_options(parser: Parser) -> None:
    """Add the options of `segsweep verify`."""
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{STUDY}, whose records are verified too; repeatable")
    parser.add_argument("--store", default="store", metavar="DIR", help="folder of artifacts (default: store)")


def add_models_options(parser: Parser) -> None:
    """Add the options of `segsweep models`."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="architectures (default: those of the published studies, and more)")
    add("--classes", type=at_least(1), default=2, metavar="N", help="number of classes (default: 2)")
    add("--freeze", default="none", metavar="POLICY", help="none, encoder, encoder:K or norm (default: none)")
    add("--image-px", type=at_least(16), default=256, metavar="PX", help="side of the images, in pixels (default: 256)")
    add("--json", action="store_true", help="print one JSON list")
    add("--encoders", action="store_true", help="list the decoders and encoders that can be combined instead")


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of an argument that is a whole number of at least `least`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}: must be a whole number of at least {least}")
        return int(text)

    return number


def add_settings_options(parser: Parser) -> None:
    """Add the options of `segsweep settings`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="settings to list (default: all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of JSON objects: name, default, allowed, meaning")
    form.add_argument("--markdown", action="store_true", help="print a table in Markdown, as in sweeps/README.md")


def add_status_options(parser: Parser) -> None:
    """Add the options of `segsweep status`."""
    parser.add_argument("study", metavar="STUDY", help=STUDY_OR_MIRROR)
    parser.add_argument(
        "--follow", action="store_true", help="print changes until the study has ended; Ctrl-C ends only this command"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; with --follow, one per change")


def add_studies_options(parser: Parser) -> None:
    """Add the options of `segsweep studies`."""
    parser.add_argument("folder", nargs="?", default="runs", metavar="FOLDER", help="folder of studies (default: runs)")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def add_report_options(parser: Parser) -> None:
    """Add the options of `segsweep report`."""
    several = f"{STUDY_OR_MIRROR}; with several, the first is compared with each of the others"
    parser.add_argument("studies", nargs="+", metavar="STUDY", help=several)
    parser.add_argument("--latex", action="store_true", help="also write the table for a paper: table.tex")
    parser.add_argument("--figures", action="store_true", help="also write figures for a paper, as SVG and PDF: figures/")
    example = "'source=coco - source=random; freeze=none'"
    parser.add_argument(
        "--ask", action="append", default=[], metavar="TEXT", help=f"print a difference, such as {example}; repeatable"
    )
    parser.add_argument("--matters", type=float, default=1.0, metavar="POINTS", help="least difference that matters (default: 1)")


def add_sql_options(parser: Parser) -> None:
    """Add the options of `segsweep sql`."""
    parser.add_argument("query", metavar="QUERY", help="query in DuckDB's SQL; it can read only these tables and write nothing")
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{STUDY}; repeatable (default: all in runs/)")
    parser.add_argument("--csv", action="store_true", help="print the result as CSV")


def add_export_options(parser: Parser) -> None:
    """Add the options of `segsweep export`."""
    parser.add_argument("study", metavar="STUDY", help="a study's folder, its name in runs/, or (--to) wandb:ENTITY/PROJECT")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--best", metavar="DIR", help="write the best model into this folder, which must be new or empty")
    what.add_argument("--to", metavar="TOOL", help="write the records for tensorboard, optuna, csv or parquet")
    parser.add_argument("--out", metavar="DIR", help="with --to: output folder, new or empty (default: exports/STUDY-TOOL)")
    parser.add_argument("--store", metavar="DIR", help="with --best: folder of artifacts (default: the store of the study)")


def add_wandb_sync_options(parser: Parser) -> None:
    """Add the options of `segsweep wandb sync`."""
    parser.add_argument("study", metavar="STUDY", help=STUDY)
    add_mirror_options(parser)


def add_predict_options(parser: Parser) -> None:
    """Add the options of `segsweep predict`."""
    add = parser.add_argument
    add("study", metavar="STUDY", help=STUDY)
    add("--images", required=True, metavar="FOLDER", help="folder of images in any format; its subfolders are not read")
    add("--out", metavar="DIR", help="output folder, new or empty (default: predictions/STUDY)")
    add("--trial", metavar="ID", help="another confirmed run, by its id or the beginning of its id")
    add("--probabilities", action="store_true", help="also write the probabilities of every class, as grey images")
    add("--store", metavar="DIR", help="folder of artifacts (default: the store of the study)")
    add("--device", default="auto", help="auto, cpu or cuda:N (default: auto, a GPU if there is one)")


def add_completion_options(parser: Parser) -> None:
    """Add the options of `segsweep completion`."""
    parser.add_argument("shell", choices=SHELLS, help='for bash or zsh: put eval "$(segsweep completion bash)" into ~/.bashrc')
