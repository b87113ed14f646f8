"""The folder of the Ray that segsweep starts: its sockets, logs and spilled objects, private to the user.

Ray opens its own folders to everybody, so that another user of the machine could replace its sockets and its code; here they
lie in a folder that the user alone may enter.
"""

import os
import shutil
import stat
from pathlib import Path

from segsweep.errors import UserError

OBJECTS_BYTES = 256 * 2**20  # for Ray's object store: arrays go through segsweep's own store
LOGS_BYTES = 32 * 2**20  # what a start writes at least
SHARED_MEMORY = Path("/dev/shm")
USUAL = "/tmp"
SOCKET_CHARACTERS = 103  # of the path of a Unix socket: 107 on Linux, 103 on macOS
# Ray's longest one below its folder, with the longest process number, and multiprocessing's below TMPDIR
LONGEST_SOCKET = len("/r/session_2026-11-28_13-08-01_445688_4194304/sockets/dash_MetricsHead")
PYTHON_SOCKET = len("/pymp-abcdefgh/listener-abcdefgh")


def ray_folder() -> Path:
    """Create the folder where it is missing, and return it. Raises `UserError` where Ray could not work in it."""
    private = usable_folder()
    try:
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = private.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise UserError(f"{private}: belongs to another user; export RAY_TMPDIR=FOLDER, a folder that is yours")
        private.chmod(0o700)
    except OSError as error:
        raise UserError(_line(private.parent, f"cannot be written: {error.strerror}")) from None
    return private / "r"


def usable_folder() -> Path:
    """Return the user's folder in the first of RAY_TMPDIR, or TMPDIR and /tmp, in which Ray works. Nothing is written.

    Raises `UserError` with the reason where there is none.
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
    """Return another TMPDIR for Ray's processes where the user's is too long for the sockets that Python makes in it."""
    return {"TMPDIR": USUAL} if len(os.environ.get("TMPDIR", "")) + PYTHON_SOCKET > SOCKET_CHARACTERS else {}


def _private(place: Path) -> Path:
    return place / f"segsweep-{os.getuid()}"


def _problem(place: Path) -> str | None:
    """Return what keeps Ray from working in a folder, None where nothing does."""
    most = SOCKET_CHARACTERS - LONGEST_SOCKET - len(str(_private(Path("/"))))
    if len(str(place)) > most:
        return f"{len(str(place))} characters, too long for Ray's sockets (at most {most})"
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return f"{existing} cannot be written"
    free, needed = shutil.disk_usage(existing).free, LOGS_BYTES
    if _free(SHARED_MEMORY) < OBJECTS_BYTES:  # Ray then keeps its objects here
        needed += OBJECTS_BYTES
    return None if free >= needed else f"{free // 2**20} MiB free, and Ray needs {needed // 2**20}"


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free if folder.is_dir() else 0


def _line(place: Path, problem: str) -> str:
    named = [name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name) and place == Path(os.environ[name]).absolute()]
    beginning = f"{named[0]}={place}" if named else f"{place}, where Ray works"
    return f"{beginning}: {problem}; export RAY_TMPDIR=FOLDER, a short path with space that you may write"
