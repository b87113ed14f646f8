"""Tab completion of the `segsweep` command: a shell script that is generated from the command's parser."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

SHELLS = ("bash", "zsh")

ZSH = "autoload -U +X bashcompinit && bashcompinit\n"

SCRIPT = """_segsweep() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" command="" part
  for part in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$command $part" in
{commands}
    esac
  done
  case "$command ${{COMP_WORDS[COMP_CWORD-1]}}" in
{values}
  esac
  case "$command" in
{words}
  esac
}}
complete -o bashdefault -o default -F _segsweep {program}
"""


def print_completion(options: argparse.Namespace, console: "Console") -> None:  # noqa: ARG001
    """Print the completion script of the command for a shell."""
    print(completion(options.parser, options.shell))


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return a shell script that completes commands, options and their values, and file names everywhere else."""
    parsers = dict(_parsers(parser, ""))
    ways = [path.rpartition("/") for path in parsers if path]
    commands = "\n".join(f'      "{above} {name}") command="{above}/{name}" ;;' for above, _, name in ways)
    values = "\n".join(_values(path, each) for path, each in parsers.items() if _values(path, each))
    words = "\n".join(f'    "{path}") {_reply(_words(each))} ;;' for path, each in parsers.items())
    script = SCRIPT.format(commands=commands, values=values or "    *) ;;", words=words, program=parser.prog)
    return (ZSH if shell == "zsh" else "") + script


def _parsers(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the path and the parser of every command, such as `/wandb/sync`; the path of `segsweep` itself is empty."""
    yield path, parser
    for name, command in _commands(parser).items():
        yield from _parsers(command, f"{path}/{name}")


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: command for action in found for name, command in action.choices.items()}


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return the words that can follow a command: its subcommands, the values of its arguments, and its options."""
    arguments = [str(choice) for action in parser._actions if not action.option_strings for choice in action.choices or ()]
    return [*arguments, *(flag for action in parser._actions for flag in action.option_strings if flag.startswith("--"))]


def _values(path: str, parser: argparse.ArgumentParser) -> str:
    """Return the shell cases for the options of a command that accept only listed values."""
    chosen = [action for action in parser._actions if action.option_strings and action.choices]
    return "\n".join(
        f'    "{path} {flag}") {_reply([str(choice) for choice in action.choices or ()])}; return ;;'
        for action in chosen
        for flag in action.option_strings
    )


def _reply(words: list[str]) -> str:
    return f"""COMPREPLY=($(compgen -W '{" ".join(words)}' -- "$word"))"""
