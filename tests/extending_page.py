"""The examples of sweeps/EXTENDING.md, by the names of their studies."""

import importlib.util
from pathlib import Path
from types import ModuleType

from markdown_pages import ROOT, read

EXAMPLES = {
    block.text.split('    name="')[1].partition('"')[0]: block.text
    for block in read(ROOT / "sweeps" / "EXTENDING.md").blocks
    if block.language == "python"
}


def example(name: str, folder: Path) -> ModuleType:
    """Return the module of an example, whose file is written into a folder."""
    path = folder / f"example_{name}.py"
    path.write_text(EXAMPLES[name])
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
