"""Texts without their line breaks, for tests that ask what a text says."""


def unwrapped(text: str) -> str:
    """Return a text in which notes of several lines, whose later lines are indented by two spaces, are single lines."""
    return text.replace("\n  ", " ")
