"""`segsweep init`: write a study file to edit, a copy of `sweeps/custom_dataset.py`."""

import argparse
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from segsweep.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

TEMPLATE = "custom_dataset"
TEMPLATE_TARGET = '"folder:/path/to/dataset"'
PACKAGE = Path(__file__).parents[1]
LOCATIONS = (  # in a checkout; in an installed package, whose wheel includes a copy (see pyproject.toml)
    PACKAGE.parent / "sweeps" / f"{TEMPLATE}.py",
    PACKAGE / "cli" / f"{TEMPLATE}.py",
)


def init(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    """Write a study file into the current folder, and print the next command."""
    for line in write_study(options.name, options.target):
        print(line)


def write_study(name: str, target: str | None) -> list[str]:
    """Write `NAME.py` into the current folder and return the lines to print; `target` is the folder of the target's images.

    Raises `UserError` for a name that no study can have or that would hide a Python module, for a folder that does not exist,
    and for a file that does.
    """
    _check_name(name)
    folder = None if target is None else Path(target).expanduser().absolute()
    if folder is not None and not folder.is_dir():
        raise UserError(f"--target {target}: no such folder; name the folder that holds images/ and masks/, or a COCO file")
    text = study_text(name, folder)
    with Path(f"{name}.py").open("x", encoding="utf-8") as file:
        file.write(text)
    if folder is None:
        line = text[: text.index(TEMPLATE_TARGET)].count("\n") + 1
        return [f"{name}.py: written. Set the target in line {line}.", f"next: python {name}.py --demo"]
    return [
        f"{name}.py: written, with the target {folder}. ROOT is the folder that holds COCO 2017, its source dataset.",
        f"next: python {name}.py --plan --data ROOT",
    ]


def study_text(name: str, folder: Path | None) -> str:
    """Return the text of a study file: the template under another name, and with a folder as its target."""
    text = next(path for path in LOCATIONS if path.is_file()).read_text(encoding="utf-8")
    text = text.replace(f"sweeps/{TEMPLATE}.py", f"{name}.py").replace(TEMPLATE, name)
    return text if folder is None else text.replace(TEMPLATE_TARGET, repr(f"folder:{folder}"))


def _check_name(name: str) -> None:
    """Raise `UserError` for a name that a study or its file cannot have. An existing file comes first: it may be importable."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UserError(
            f"init {name}: a name may have only letters, digits, '_' and '-', without .py: it names the study and its file"
        )
    if Path(f"{name}.py").exists():
        raise UserError(f"{name}.py exists, and is not overwritten; choose another name, or move the file")
    if name in sys.stdlib_module_names or find_spec(name) is not None:
        raise UserError(f"init {name}: is a Python module, which a script {name}.py would hide; choose another name")
