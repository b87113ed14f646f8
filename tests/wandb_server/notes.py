"""What the server remembers of requests, for tests to ask."""

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Notes:
    """Requests by kind, those that met a fault, the names of uploaded files, and what went wrong.

    `missing` names fields that a client asked for and nobody serves, `errors` requests that could not be answered.
    """

    calls: Counter[str] = field(default_factory=Counter)
    faulty: Counter[str] = field(default_factory=Counter)
    uploads: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
