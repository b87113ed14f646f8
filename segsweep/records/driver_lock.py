"""The lock that shows whether a driver is writing to a study.

A driver locks its `driver.json` from before the file gets its name until the process ends. Readers test the lock and touch no
file that a starting driver needs.
"""

import fcntl
import json
import os
import socket
from pathlib import Path

from segsweep.files import replacing

DRIVER = "driver.json"


def acquire_driver_lock(folder: Path) -> int:
    """Write the driver's host and pid, and return the descriptor that holds the lock until closed or the process ends."""
    with replacing(folder / DRIVER) as temporary:
        temporary.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}), encoding="utf-8")
        descriptor = os.open(temporary, os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def driver_alive(folder: Path) -> bool:
    """Return whether a driver is writing to this study now."""
    try:
        descriptor = os.open(folder / DRIVER, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # on a disk without locks no driver can hold one
        return False
    finally:
        os.close(descriptor)
    return False


def driver_details(folder: Path) -> str:
    """Return the host and pid of a study's driver as JSON, or "?" if they cannot be read."""
    try:
        return (folder / DRIVER).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "?"
