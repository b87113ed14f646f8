"""The one exception for a user's mistakes."""


class UserError(ValueError):
    """A mistake in a study, a command or a data set: shown as one line, without a traceback.

    The message names the field, file or node, the value, what is allowed, and what to do.
    """


class DataNotFoundError(UserError):
    """A known data set for which no folder was named or found: a plan can be made without it, a run cannot."""


def unknown(what: str, name: object, known: list[str] | tuple[str, ...]) -> UserError:
    """Return the error for a name that no table holds; it lists the names that exist."""
    return UserError(f"{what}: unknown name {str(name)!r}; known: {', '.join(known)}")
