"""Lists: text files with one entry a line, as every layout has them."""

from pathlib import Path

from segsweep.errors import UserError


def lines(path: Path) -> list[str]:
    """Return the lines that are not blank, stripped. Raises `UserError` that names the file when it is no UTF-8 text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
