"""Digests of specifications, and seeds derived from them."""

import hashlib
import json
from typing import Any

DIGEST_LENGTH = 20


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of a value: sorted keys, no spaces. Raises `ValueError` on NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """Return the first 20 hexadecimal digits of the SHA-256 of the canonical JSON text of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:DIGEST_LENGTH]


def seed_for(*parts: str | int) -> int:
    """Return a seed in [0, 2**63) derived from `parts`, for instance `seed_for("order", seed, epoch)`.

    Equal parts give equal seeds on every machine. All random numbers of the package start from this function.
    """
    return int.from_bytes(hashlib.sha256(canonical_json(list(parts)).encode()).digest()[:8], "big") >> 1
