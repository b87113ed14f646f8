"""Numbers and intervals as text, as the page shows them."""

import math

FINE_POINTS = 0.3  # a smaller half-width deserves a second decimal


def decimals_of(half_width: float) -> int:
    """Return the number of decimals at which points are shown: two where the interval's half-width is below 0.3, else one."""
    return 2 if half_width < FINE_POINTS else 1


def signed(value: float, decimals: int = 1, *, plus: bool = True) -> str:
    """Return a number as text with a minus sign, and a plus sign if wished; zero has no sign, infinity is a word."""
    if math.isinf(value):
        return "unlimited"
    text = f"{abs(value):,.{decimals}f}"
    if not text.strip("0.,"):
        return text
    return f"−{text}" if value < 0 else f"+{text}" if plus else text


def interval_text(ends: tuple[float, float], decimals: int = 1) -> str:
    """Return an interval as text: "3.3 to 8.3", "at least 3.3", or "unknown" for NaN."""
    low, high = ends
    if math.isnan(low) or math.isnan(high):
        return "unknown"
    if math.isinf(low) and math.isinf(high):
        return "unlimited"
    if math.isinf(high):
        return f"at least {signed(low, decimals, plus=False)}"
    if math.isinf(low):
        return f"at most {signed(high, decimals, plus=False)}"
    return f"{signed(low, decimals, plus=False)} to {signed(high, decimals, plus=False)}"
