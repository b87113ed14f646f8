"""Run the `segsweep` command within a test's process."""

from segsweep.cli.commands import command_line


def call(*arguments: object) -> int:
    """Return the exit code of a command."""
    try:
        command_line([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0
