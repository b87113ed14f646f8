"""Run the notebooks on the demos of their studies and write their outputs into them.

    python -m analysis.render [NAME ...] [--runs FOLDER]

Only demos are read, whose images are generated: outputs are committed, and most datasets may not be published. `querying_wandb`
reads the demo of `transfer_grid` from the W&B server of the tests (`tests/wandb_server`), which runs on this machine.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from PIL import Image

ANALYSIS = Path(__file__).parent
ROOT = ANALYSIS.parent
ASKS_WANDB, SENT = "querying_wandb", "transfer_grid"  # a notebook, and the study whose demo it reads
ENTITY, PROJECT = "lab", "pets"
CELL_SECONDS = 120
EXECUTED = "segsweep"  # key of a notebook's metadata with the digest of the code that gave the outputs
Notebook = dict[str, Any]


def main() -> None:
    """Run the notebooks that the command line names, by default all."""
    names = sorted(path.stem for path in ANALYSIS.glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"notebook: {', '.join(names)} (default: all)")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", metavar="FOLDER", help="folder of the demos (default: runs)")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(names)):
        parser.error(f"no notebook {', '.join(unknown)}; there are {', '.join(names)}")
    for name in asked.names or names:
        render(name, asked.runs)


def render(name: str, runs: Path) -> None:
    """Run a notebook on its study's demo and write it with its outputs. Ends the process if a cell fails or warns."""
    path = ANALYSIS / f"{name}.ipynb"
    notebook = read(path)
    with TemporaryDirectory() as folder, _place(name, runs, Path(folder)) as environment:
        here = Path(folder, "analysis")
        here.mkdir()
        manager, client = start_new_kernel(cwd=str(here), env=environment)
        try:
            for number, cell in enumerate(code_cells(notebook), start=1):
                cell |= {"execution_count": number, "outputs": _run("".join(cell["source"]), client, f"{name}, cell {number}")}
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    notebook["metadata"][EXECUTED] = {"executed": digest(notebook)}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB\n")


def read(path: Path) -> Notebook:
    """Return a notebook."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def code_cells(notebook: Notebook) -> list[dict[str, Any]]:
    """Return the code cells of a notebook."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def digest(notebook: Notebook) -> str:
    """Return a digest of a notebook's code."""
    return hashlib.sha256(json.dumps(["".join(cell["source"]) for cell in code_cells(notebook)]).encode()).hexdigest()


@contextmanager
def _place(name: str, runs: Path, folder: Path) -> Iterator[dict[str, str]]:
    """Put a copy of the demo that a notebook reads into a folder, and yield the environment of the kernel."""
    demo = f"{SENT if name == ASKS_WANDB else name}_demo"
    if not (runs / demo).is_dir():
        sys.exit(f"{runs} holds no {demo}; run python sweeps/{demo.removesuffix('_demo')}.py --demo first")
    copied = Path(copytree(runs / demo, folder / "runs" / demo))
    base = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    if name != ASKS_WANDB:
        yield {**os.environ, **base}
        return
    with _sent(copied, folder / "wandb") as address:
        yield {**os.environ, **base, **address}


@contextmanager
def _sent(study: Path, folder: Path) -> Iterator[Mapping[str, str]]:
    """Send a study to a W&B server of the tests, and yield the names of its project as environment variables."""
    import pytest

    sys.path.insert(0, str(ROOT / "tests"))
    from wandb_server import isolated_server

    from segsweep.records.wandb.options import MirrorOptions
    from segsweep.records.wandb.send import Sender, transfer

    with pytest.MonkeyPatch.context() as patch, isolated_server(folder, patch):
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        options = MirrorOptions(mode="online", project=f"{ENTITY}/{PROJECT}")
        options.save(study)
        transfer(Sender(study, options))
        yield {"WANDB_ENTITY": ENTITY, "WANDB_PROJECT": PROJECT}


def _run(code: str, client: BlockingKernelClient, where: str) -> list[dict[str, Any]]:
    """Run code and return its outputs in the notebook's format. Ends the process if the code fails or writes to stderr."""
    outputs: list[dict[str, Any]] = []

    def keep(message: dict[str, Any]) -> None:
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "error" or (kind == "stream" and content["name"] == "stderr"):
            sys.exit(f"{where}: {content.get('text') or chr(10).join(content['traceback'])}")
        if kind in ("stream", "display_data", "execute_result"):
            content = {key: content[key] for key in ("name", "text", "data", "metadata", "execution_count") if key in content}
            outputs.append({"output_type": kind, **content})
            if "image/png" in content.get("data", {}):
                content["data"]["image/png"] = _small(content["data"]["image/png"])

    client.execute_interactive(code, output_hook=keep, allow_stdin=False, timeout=CELL_SECONDS)
    return outputs


def _small(png: str) -> str:
    """Return an image (PNG as base64) with 256 colours, which takes about a third of the space."""
    buffer = BytesIO()
    with Image.open(BytesIO(base64.b64decode(png))) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
