"""The `segsweep` command: datasets and models, what was run, and what came out.

Nothing at the top of this file imports torch or pandas: each command imports what it needs when it is called.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segsweep.cli.completion import SHELLS, completion
from segsweep.cli.datasets_options import add_arguments
from segsweep.cli.exits import INCOMPLETE, announce_start, exit_codes
from segsweep.cli.mirror_options import add_mirror_options
from segsweep.cli.models_options import add_models_options
from segsweep.cli.settings_options import add_settings_options
from segsweep.cli.status_options import add_status_options, add_studies_options
from segsweep.console import error_console
from segsweep.errors import UserError
from segsweep.version import versions

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console


CONTINUED = ("fetch", "prepare", "wandb")  # commands that another start of them continues
Command = Callable[[argparse.Namespace, "Console"], None]


def command_line(arguments: Sequence[str] | None = None) -> None:
    """Run the `segsweep` command and exit; a user's mistake is one line on stderr and exit code 2."""
    options = _parser().parse_args(arguments)
    console = error_console()
    with exit_codes(console, lambda _: _interrupted(sys.argv[1:] if arguments is None else arguments)):
        command: Command = options.command
        command(options, console)


def _interrupted(arguments: Sequence[str]) -> str:
    """Return the last line of a command that was asked to end."""
    continues = f"; everything so far is kept. To continue: segsweep {shlex.join(arguments)}"
    return "interrupted" + (continues if arguments[0] in CONTINUED else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="segsweep",
        description="Transfer-learning studies for semantic segmentation.",
        epilog="Start with: segsweep init NAME. README.md and sweeps/README.md describe studies.",
    )
    parser.add_argument("--version", action="version", version=versions())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, epilog=f"example: segsweep {example}")
        sub.set_defaults(command=command)
        return sub

    created = add("init", _init, "Write a study file to edit, for a folder of images.", "init street --target ~/street")
    created.add_argument("name", metavar="NAME", help="name of the study; the file is NAME.py in the current folder")
    created.add_argument("--target", metavar="FOLDER", help="folder of the target: images/ and masks/, or images and a COCO file")
    datasets = add("datasets", _datasets, "List datasets, their layouts, and what is found.", "datasets --data ~/data")
    add_models_options(add("models", _models, "List architectures and what each costs.", "models --classes 3 --freeze encoder"))
    add_settings_options(
        add("settings", _settings, "List every setting, its default, what it allows and what it means.", "settings learning_rate")
    )
    prepare = add(
        "prepare",
        _prepare,
        "Decode datasets into the store, and verify them.",
        "prepare pets coco --data ~/data --image-px 96",
    )
    add_arguments(datasets, prepare)
    fetched = add(
        "fetch",
        _fetch,
        "Download the published weights and datasets that a study needs, for machines without a network.",
        "fetch sweeps/transfer_grid.py --data ~/data",
    )
    fetched.add_argument("script", metavar="STUDY.py", help="a study's script")
    fetched.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="...", help="its own options, as --data ROOT, --set, --preset"
    )
    verify_parser = add("verify", _verify, "Compare a store, and records, with their checksums.", "verify runs/transfer_grid")
    verify_parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help="studies whose records are compared too, and listed first"
    )
    verify_parser.add_argument("--store", default="store", metavar="DIR", help="folder of artifacts (default: store)")
    add_status_options(
        add(
            "status",
            _status,
            "Print how far a study is, while it runs or afterwards, on any machine that sees its folder.",
            "status runs/transfer_grid --follow",
        )
    )
    add_studies_options(add("studies", _studies, "List the studies of a folder, and how far each is.", "studies runs"))
    report = add(
        "report", _report, "Print a study's table, and write it and the predictions into its folder.", "report runs/transfer_grid"
    )
    report.add_argument("study", metavar="STUDY", help="a study's folder, its name in runs/, or wandb:ENTITY/PROJECT")
    ask = add(
        "sql",
        _sql,
        "Answer an SQL query over the records of studies: tables trials, epochs, images, counts, stages, confusions.",
        """sql "select source, avg(test_iou) from trials where phase='confirm' group by 1" runs/transfer_grid""",
    )
    ask.add_argument("query", metavar="QUERY", help="in DuckDB's SQL; it can read and write nothing but these tables")
    ask.add_argument("studies", nargs="*", metavar="STUDY", help="studies' folders, or names in runs/ (default: all in runs/)")
    ask.add_argument("--csv", action="store_true", help="print the answer as CSV")
    _add_export_options(
        add(
            "export",
            _export,
            "Write a study's best model for plain torch, or its records for another tool.",
            "export runs/transfer_grid --best best_model; segsweep export runs/transfer_grid --to optuna",
        )
    )
    _add_wandb(commands)
    _add_predict_options(
        add(
            "predict",
            _predict,
            "Apply a study's best confirmed run to your own pictures: masks, overlays, shares of the classes.",
            "predict runs/transfer_grid --images ~/photos --out predicted",
        )
    )
    shells = add("completion", _completion, "Print a script that completes this command in a shell.", "completion bash")
    shells.add_argument("shell", choices=SHELLS, help='for bash or zsh: eval "$(segsweep completion bash)" in ~/.bashrc')
    return parser


def _add_export_options(export: argparse.ArgumentParser) -> None:
    export.add_argument("study", metavar="STUDY", help="a study's folder, its name in runs/, or (--to) wandb:ENTITY/PROJECT")
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument("--best", metavar="DIR", help="write the best model into this folder, new or empty")
    what.add_argument("--to", metavar="TOOL", help="write the records for tensorboard, optuna, csv or parquet")
    export.add_argument("--out", metavar="DIR", help="with --to: the folder to write, new or empty (default: exports/STUDY-TOOL)")
    export.add_argument("--store", metavar="DIR", help="with --best: folder of artifacts (default: the one that the study used)")


def _add_wandb(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    wandb = commands.add_parser(
        "wandb",
        help="Send a study's records to Weights & Biases.",
        description="Send a study's records to Weights & Biases.",
        epilog="example: segsweep wandb sync runs/transfer_grid",
    )
    sync = wandb.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "sync",
        help="Send what W&B does not have.",
        description="Send what W&B does not have of a study: trials, stages, pictures, models, table. Nothing is sent twice.",
        epilog="example: segsweep wandb sync runs/transfer_grid --wandb-project lab/pets",
    )
    sync.set_defaults(command=_wandb_sync)
    sync.add_argument("study", metavar="STUDY", help="a study's folder, or its name where it lies in runs/")
    add_mirror_options(sync)


def _add_predict_options(predict: argparse.ArgumentParser) -> None:
    predict.add_argument("study", metavar="STUDY", help="a study's folder, or its name where it lies in runs/")
    predict.add_argument("--images", required=True, metavar="FOLDER", help="images in any format, none from folders below")
    predict.add_argument("--out", metavar="DIR", help="the folder to write, new or empty (default: predictions/STUDY)")
    predict.add_argument("--trial", metavar="ID", help="another confirmed run, by its id or how that begins")
    predict.add_argument("--probabilities", action="store_true", help="write every class's probabilities too, as grey pictures")
    predict.add_argument("--store", metavar="DIR", help="folder of artifacts (default: the one that the study used)")
    predict.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: auto, a GPU where there is one)")


def _completion(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    print(completion(_parser(), options.shell))


def _init(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    from segsweep.cli.init import write_study

    for line in write_study(options.name, options.target):
        print(line)


def _datasets(options: argparse.Namespace, console: "Console") -> None:
    from segsweep.cli.datasets import list_datasets

    list_datasets(options, console)


def _settings(options: argparse.Namespace, console: "Console") -> None:
    from segsweep.cli.settings import settings

    settings(options, console)


def _prepare(options: argparse.Namespace, console: "Console") -> None:
    announce_start(console)
    from segsweep.cli.datasets import prepare_datasets

    prepare_datasets(options, console)


def _fetch(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    if not Path(options.script).is_file():
        raise UserError(f"fetch {options.script}: there is no such file; name a study's script, as sweeps/transfer_grid.py")
    import runpy

    sys.argv = [options.script, *options.options, "--fetch"]
    sys.path.insert(0, str(Path(options.script).absolute().parent))  # as Python does for the script that it runs
    runpy.run_path(options.script, run_name="__main__")
    raise UserError(f"fetch {options.script}: calls no main(study); name a study's script")


def _verify(options: argparse.Namespace, console: "Console") -> None:
    announce_start(console)
    from segsweep.cli.verify import verify

    verify(options, console)


def _models(options: argparse.Namespace, console: "Console") -> None:
    announce_start(console)
    from segsweep.cli.models import models

    models(options, console)


def _wandb_sync(options: argparse.Namespace, console: "Console") -> None:
    from segsweep.cli.mirror import sync_study

    sync_study(_folder(options.study).absolute(), options, console)


def _folder(study: str) -> Path:
    """Return a study's folder, which may be given by its name where it lies in `runs/`. A W&B project stays as it is."""
    from segsweep.records.find import find_study

    return find_study(study)


def _status(options: argparse.Namespace, console: "Console") -> None:
    from segsweep.cli.status import show_status

    show_status(options, console)


def _studies(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    from segsweep.cli.studies import list_studies

    list_studies(options)


def _report(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    from segsweep.records.reader import load
    from segsweep.report.clips import write_clips
    from segsweep.report.text import table_text
    from segsweep.report.write import write_report

    records = load(_folder(options.study))
    if "store" not in records.study:  # from W&B: there is no folder to write into
        print(table_text(records))
        return
    store = Path(records.study["store"])
    print(write_report(records, store), flush=True)
    for line in write_clips(records, store):
        print(line)


def _sql(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    from segsweep.records.reader import sql

    answer = sql(options.query, *(_folder(study) for study in options.studies))
    print(answer.to_csv(index=False).rstrip("\n") if options.csv else _shown(answer))


def _shown(answer: "pd.DataFrame") -> str:
    """Return an answer as a table to read: numbers with six digits, those from a million on, as moments are, with twelve."""
    if answer.empty:
        return f"{' '.join(answer.columns)}\n(no rows)"
    return answer.to_string(index=False, float_format=lambda value: f"{value:.{6 if abs(value) < 1e6 else 12}g}")


def _export(options: argparse.Namespace, console: "Console") -> None:
    if unused := "--store" if options.to and options.store else "--out" if options.best and options.out else None:
        raise UserError(f"{unused}: goes with {'--best' if options.to else '--to'}; leave it out")
    from segsweep.records.reader import load

    records = load(_folder(options.study))
    if options.to:
        from segsweep.report.exports import export_records

        for line in export_records(records, options.to, Path(options.out) if options.out else None):
            print(line)
        return
    announce_start(console)
    from segsweep.inference.export import export

    folder = export(records, options.best, store=options.store)
    print(f"{folder}: model.pt2, weights.safetensors, card.json, README.md")


def _predict(options: argparse.Namespace, console: "Console") -> None:
    announce_start(console)
    from segsweep.inference.predict import predict
    from segsweep.records.reader import load
    from segsweep.sweep.progress import choose_view

    records = load(_folder(options.study))
    view = choose_view(console)
    try:
        done = predict(
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
    print(f"{done.folder}: {len(done.images)} pictures, predicted by trial {run['trial_id']} ({run['cell']})")
    if done.failed:
        names = ", ".join(row["picture"] for row in done.failed)
        total = len(done.failed) + len(done.images)
        console.print(f"{len(done.failed)} of {total} pictures could not be read: {names}", soft_wrap=True)
        sys.exit(INCOMPLETE)
