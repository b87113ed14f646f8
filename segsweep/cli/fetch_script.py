"""`segsweep fetch`: run a study's script with `--fetch`, which downloads the files that the study needs."""

import argparse
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from segsweep.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


def fetch_script(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    """Run a study's script with `--fetch`. Raises `UserError` if it does not exist or is not the script of a study."""
    if not Path(options.script).is_file():
        raise UserError(f"fetch {options.script}: no such file; name the script of a study, such as sweeps/transfer_grid.py")
    sys.argv = [options.script, *options.options, "--fetch"]
    sys.path.insert(0, str(Path(options.script).absolute().parent))  # as Python does for a script
    runpy.run_path(options.script, run_name="__main__")
    raise UserError(f"fetch {options.script}: does not call main(study); name the script of a study")
