"""Whether a driver writes to a study now.

A driver holds a lock on its own `driver.json` for as long as it lives, from before the file appears. Readers ask whether it
is held, and touch nothing that a driver needs to start.
"""

import fcntl
import json
import os
import socket
from pathlib import Path

from segsweep.files import replacing

DRIVER = "driver.json"


def acquire_driver_lock(folder: Path) -> int:
    """Write who drives a study, and return the descriptor that holds the lock: closed, or at the process's death, it is free."""
    with replacing(folder / DRIVER) as temporary:
        temporary.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}), encoding="utf-8")
        descriptor = os.open(temporary, os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def driver_alive(folder: Path) -> bool:
    """Return whether a driver writes to this study now."""
    try:
        descriptor = os.open(folder / DRIVER, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a disk without locks has no driver
        return False
    finally:
        os.close(descriptor)
    return False


def driver_details(folder: Path) -> str:
    """Return who drives a study, as far as that can be read."""
    try:
        return (folder / DRIVER).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "?"
