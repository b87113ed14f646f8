"""The server's log of requests, for tests."""

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Notes:
    """Requests by kind, requests that met a fault, names of uploaded files, and errors.

    `missing` lists fields that a client requested and the server does not have, `errors` requests that failed.
    """

    calls: Counter[str] = field(default_factory=Counter)
    faulty: Counter[str] = field(default_factory=Counter)
    uploads: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
