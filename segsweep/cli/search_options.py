"""The options of a study's command line that turn it into a search for the best model."""

import argparse
from dataclasses import replace
from typing import Any, get_args

from segsweep.config.search import Sampler, Search
from segsweep.config.study import Study
from segsweep.errors import UserError

SUFFIX = "_search"  # end of the name of a search that the command line makes of a grid: the grid keeps its folder


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add `--search` and the options that change a search."""
    group = parser.add_argument_group("search for the best model, instead of the grid of all cells")
    add = group.add_argument
    add("--search", type=int, metavar="TRIALS", help=f"search with this number of trials; the study's name gets the end {SUFFIX}")
    add("--sampler", choices=get_args(Sampler), help="method that suggests the trials of a search (default: tpe)")
    add("--confirm", type=int, metavar="N", help="number of cells whose best setting a search confirms (default: 3)")
    add(
        "--warm-start",
        action="append",
        default=[],
        metavar="STUDY",
        help="earlier study of the same target whose trials a search starts from; repeatable",
    )


def with_search(study: Study, options: argparse.Namespace) -> Study:
    """Return the study as the search that the command line asks for.

    A study without a search gets another name, unless `--name` follows. Raises `UserError` for options of a search without
    one.
    """
    values: dict[str, Any] = {"trials": options.search, "sampler": options.sampler, "confirm": options.confirm}
    asked = {name: value for name, value in values.items() if value is not None}
    if options.warm_start:
        asked["warm_start"] = tuple(options.warm_start)
    if not asked:
        return study
    if study.search is not None:
        return replace(study, search=replace(study.search, **asked))
    if options.search is None:
        given = next(iter(asked))
        raise UserError(f"--{given.replace('_', '-')}: this study is no search; add --search TRIALS")
    return replace(study, search=Search(**asked), name=study.name + SUFFIX)
