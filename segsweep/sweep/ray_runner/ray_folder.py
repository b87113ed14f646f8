"""The folder of a Ray that segsweep starts: its sockets, logs and spilled objects, private to the user.

Ray makes its own folders writable for everyone, so another user of the machine could replace its sockets and its code. Here
they are inside a folder that only this user can enter.
"""

import os
import shutil
import stat
from pathlib import Path

from segsweep.errors import UserError

OBJECTS_BYTES = 256 * 2**20  # size of Ray's object store; arrays go through segsweep's own store
LOGS_BYTES = 32 * 2**20  # minimum size of the files that a start writes
SHARED_MEMORY = Path("/dev/shm")
USUAL = "/tmp"
SOCKET_CHARACTERS = 103  # longest path of a Unix socket: 107 on Linux, 103 on macOS
# the longest socket path of Ray below its folder, with the longest process id, and of multiprocessing below TMPDIR
LONGEST_SOCKET = len("/r/session_2026-11-28_13-08-01_445688_4194304/sockets/dash_MetricsHead")
PYTHON_SOCKET = len("/pymp-abcdefgh/listener-abcdefgh")


def ray_folder() -> Path:
    """Create the folder if it is missing, and return it. Raises `UserError` if Ray cannot work in it."""
    private = usable_folder()
    try:
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = private.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UserError(f"{private}: belongs to another user; export RAY_TMPDIR=FOLDER, a folder that you own")
        private.chmod(0o700)
    except OSError as error:
        raise UserError(_line(private.parent, f"cannot be written: {error.strerror}")) from None
    return private / "r"


def usable_folder() -> Path:
    """Return the user's folder inside the first place where Ray can work. Writes nothing.

    The place is RAY_TMPDIR if it is set, otherwise TMPDIR or /tmp. Raises `UserError` with the reasons if none is usable.
    """
    if named := os.environ.get("RAY_TMPDIR"):
        places = [Path(named).absolute()]
    else:
        places = [*([Path(other).absolute()] if (other := os.environ.get("TMPDIR")) else []), Path(USUAL)]
    problems = {place: _problem(place) for place in places}
    for place, problem in problems.items():
        if problem is None:
            return _private(place)
    raise UserError("; ".join(_line(place, str(problem)) for place, problem in problems.items()))


def short_temporary_folder() -> dict[str, str]:
    """Return another TMPDIR for Ray's processes if the user's is too long for the sockets that Python creates in it."""
    return {"TMPDIR": USUAL} if len(os.environ.get("TMPDIR", "")) + PYTHON_SOCKET > SOCKET_CHARACTERS else {}


def _private(place: Path) -> Path:
    return place / f"segsweep-{os.getuid()}"


def _problem(place: Path) -> str | None:
    """Return the reason why Ray cannot work in a folder, None if it can."""
    most = SOCKET_CHARACTERS - LONGEST_SOCKET - len(str(_private(Path("/"))))
    if len(str(place)) > most:
        return f"{len(str(place))} characters, too long for Ray's sockets (at most {most})"
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written"
    free, needed = shutil.disk_usage(existing).free, LOGS_BYTES
    if _free(SHARED_MEMORY) < OBJECTS_BYTES:  # Ray then stores its objects in this folder
        needed += OBJECTS_BYTES
    return None if free >= needed else f"{free // 2**20} MiB are free, but Ray needs {needed // 2**20}"


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free if folder.is_dir() else 0


def _line(place: Path, problem: str) -> str:
    named = [name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name) and place == Path(os.environ[name]).absolute()]
    beginning = f"{named[0]}={place}" if named else f"{place}, where Ray works"
    return f"{beginning}: {problem}; export RAY_TMPDIR=FOLDER, a writable folder with a short path and enough space"
