"""Size and time of the page of large studies: pytest -m slow tests/benchmarks/test_page_scale.py -s

Measured without images on two cores that others used too: 36 cells 249 kB and 2.3 CPU-seconds, 200 cells 1,094 kB and 8.9.
"""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_study import Drawn
from recorded_study import recorded

from segsweep.report.write import write_page, write_report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = {"source": ["random", "supervised:a", "supervised:b"], "architecture": ["x", "y"], "freeze": ["none", "encoder"]}
SOURCES = ["random", *(f"supervised:{name}" for name in "abcd")]
LARGE = {"source": SOURCES, "architecture": list("vwxyz"), "freeze": ["none", "encoder"]}


@pytest.mark.parametrize(
    ("grid", "fractions", "most_kB", "most_seconds"), [(SMALL, [0.2, 0.5, 1.0], 300, 5), (LARGE, [0.1, 0.2, 0.5, 1.0], 3000, 20)]
)
def test_large_studies_have_small_pages_soon(
    tmp_path: Path, grid: dict[str, list[object]], fractions: list[object], most_kB: int, most_seconds: float
) -> None:
    """36 cells with 3 seeds and 740 test images take under 300 kB and 5 CPU-seconds, 200 cells under 3 MB and 20 seconds."""
    records = replace(recorded(Drawn({**grid, "fraction": fractions}, images=740)), folder=tmp_path)
    started = time.process_time()
    write_report(records, tmp_path / "no store")
    page = write_page(records, tmp_path / "no store")
    seconds, size = time.process_time() - started, page.stat().st_size
    print(f"{len(records.study['cells'])} cells: {size / 1000:.0f} kB, {seconds:.1f} CPU-seconds")
    assert size < 1000 * most_kB
    assert seconds < most_seconds
