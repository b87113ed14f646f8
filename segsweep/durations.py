"""Durations as text."""


def readable_seconds(seconds: float) -> str:
    """Return a duration in a readable unit, such as `45 s`, `12 min`, `3.5 h` or `2.1 days`."""
    for limit, unit, size in ((100, "s", 1), (6000, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.{0 if seconds / size >= 10 else 1}f} {unit}"
    return f"{seconds / 86_400:.1f} days"
