"""The files that `ray job submit --working-dir .` uploads."""

import zipfile

from cluster_files.repository import ROOT


def test_a_job_uploads_only_the_library_and_the_studies(tmp_path):
    """Ray's own packing, which follows .gitignore and .rayignore, includes what a study needs, in about a megabyte."""
    from ray._private.runtime_env.packaging import create_package

    create_package(str(ROOT), tmp_path / "package.zip", include_gitignore=True, excludes=[])
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        files = [info for info in package.infolist() if not info.is_dir()]
    names = {info.filename for info in files}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "sweeps").glob("*.py")} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "segsweep").rglob("*.py")} <= names
    folders = {name.split("/")[0] for name in names if "/" in name}
    assert ".git" not in folders
    assert {name for name in folders if not name.startswith(".")} == {"segsweep", "sweeps"}  # others are this checkout's own
    assert sum(info.file_size for info in files if not info.filename.startswith(".")) < 3e6
