import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
import segsweep.records, segsweep.report
for package in (segsweep.records, segsweep.report):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith("segsweep.records.wandb."):
            importlib.import_module(module.name)
loaded = {"torch", "ray", "wandb"} & set(sys.modules)
assert not loaded, loaded
"""


def test_reading_needs_neither_torch_nor_ray():
    """No module of records and report imports torch, ray or wandb, except those of the mirror."""
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
