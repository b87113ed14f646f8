"""Mistakes in the Markdown pages of the repository: code blocks, commands and links, checked without running a command.

A checker takes a `Page` and yields a line for each mistake. Commands are parsed by the argument parsers that run them, so an
unknown option, setting or preset is a mistake; so is a repository file that a command or a link names and that does not exist.
"""

import argparse
import ast
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from functools import cache
from io import StringIO
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from segsweep.cli import commands, init, study_script
from segsweep.config.narrow import narrow
from segsweep.errors import UserError

ROOT = Path(__file__).parents[1]
FOLDERS = ("analysis", "cluster", "segsweep", "sweeps", "tests")  # that hold pages, beside the root
LANGUAGES = ("", "text", "sh", "python", "json", "toml", "yaml", "sql")  # of a block; "" and "text" show output
SEPARATORS = {"&&", "||", ";", "|", "&", "(", ")"}
STARTERS = ("ray", "sbatch", "srun", "docker")  # programs that start the Python command within theirs
IMAGE_ROOT = "/opt/segsweep/"  # of the repository in the container image
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text without the fence's indentation, and the line of its first line in the page."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Page:
    """One Markdown page."""

    path: Path
    text: str

    @property
    def blocks(self) -> list[Block]:
        """The fenced blocks in their order."""
        found = []
        for match in FENCE.finditer(self.text):
            lines = [line.removeprefix(match["indent"]) for line in match["text"].splitlines()]
            found.append(Block(match["language"], "\n".join(lines) + "\n", self.text[: match.start()].count("\n") + 2))
        return found

    @property
    def prose(self) -> str:
        """The text without fenced blocks, which leave as many empty lines."""
        return FENCE.sub(lambda match: "\n" * match[0].count("\n"), self.text)

    @property
    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub writes them."""
        found: dict[str, int] = {}
        for heading in HEADING.findall(self.prose):
            slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()).replace(
                " ", "-"
            )
            found[slug if slug not in found else f"{slug}-{found[slug]}"] = 0
            found[slug] = found.get(slug, 0) + 1
        return set(found)


def pages() -> list[Path]:
    """Return all pages of the repository."""
    below = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), *below])


def read(path: Path) -> Page:
    """Return a page from its file."""
    return Page(path, path.read_text(encoding="utf-8"))


def mistakes(page: Page) -> list[str]:
    """Return a line for each mistake of a page, with its file and line."""
    found: list[tuple[int, str]] = list(link_mistakes(page))
    for block in page.blocks:
        check = CHECKS.get(block.language)
        if block.language not in LANGUAGES:
            found.append((block.line - 1, f"block of {block.language!r}: known are {', '.join(filter(None, LANGUAGES))}"))
        elif check is not None:
            found += [(block.line + line, text) for line, text in check(block.text)]
    found += span_mistakes(page)
    name = page.path.relative_to(ROOT) if page.path.is_relative_to(ROOT) else page.path.name
    return [f"{name}:{line}: {text}" for line, text in sorted(found)]


# ---- blocks: each checker yields (line of the block from 0, mistake) ----


def python_mistakes(text: str) -> Iterator[tuple[int, str]]:
    """Yield mistakes of Python code: its syntax, and names that `segsweep` does not have."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield (error.lineno or 1) - 1, f"Python: {error.msg}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "segsweep":
            for alias in node.names:
                if not _has(node.module or "", alias.name):
                    yield node.lineno - 1, f"{node.module} has no {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "segsweep" and _module(alias.name) is None:
                    yield node.lineno - 1, f"there is no module {alias.name}"
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "segsweep" and not _has("segsweep", node.attr):
            yield node.lineno - 1, f"segsweep has no {node.attr}"


def _has(module: str, name: str) -> bool:
    """Return whether a module of the package has a name, which may be a module; without importing it."""
    path = _module(module)
    if path is None:
        return False
    if _module(f"{module}.{name}") is not None:
        return True
    return name in _names(path)


def _module(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


@cache
def _names(path: Path) -> frozenset[str]:
    """Return the names that the top level of a module binds, and those of `__all__`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
            found.update(names)
            if names == ["__all__"] and node.value is not None:
                found.update(ast.literal_eval(node.value))
    return frozenset(found)


def shell_mistakes(text: str) -> Iterator[tuple[int, str]]:
    """Yield mistakes of shell commands; comments, environment variables and redirections are left out."""
    lines = text.splitlines()
    start = 0
    while start < len(lines):
        end = start
        while lines[end].endswith("\\") and end + 1 < len(lines):
            end += 1
        joined = " ".join(line.rstrip("\\") for line in lines[start : end + 1])
        try:
            yield from ((start, mistake) for tokens in simple_commands(joined) for mistake in command_mistakes(tokens))
        except ValueError as error:
            yield start, f"shell: {error}: {joined.strip()}"
        start = end + 1


def simple_commands(line: str) -> list[list[str]]:
    """Return the commands of a line of shell, each as its words. Raises `ValueError` for quotes that do not close."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    redirected = False
    for token in lexer:
        if token in SEPARATORS:
            found.append([])
        elif set(token) <= set("<>&"):
            redirected = True
            if found[-1] and found[-1][-1] in ("1", "2"):  # the descriptor of 2>
                found[-1].pop()
        elif redirected:
            redirected = False
        else:
            found[-1].append(token)
    return [words for words in found if words]


def without_variables(words: Sequence[str]) -> list[str]:
    """Return the words of a command without the `NAME=value` before it."""
    return list(dropwhile(lambda word: re.match(r"\w+=", word), words))


def command_mistakes(words: Sequence[str]) -> Iterator[str]:
    """Yield mistakes of one command."""
    words = without_variables(words)
    if not words:
        return
    program, arguments = words[0].rpartition("/")[2], words[1:]
    if program in STARTERS and "python" in arguments:
        inner = words.index("python")
        yield from command_mistakes(words[inner:])
        arguments = words[1:inner]
    for word in arguments:
        yield from file_mistakes(word)
    if program == "segsweep":
        yield from segsweep_mistakes(arguments)
    elif program.startswith("python") and arguments and arguments[0].endswith(".py"):
        yield from script_mistakes(arguments[0], arguments[1:])
    elif program == "pytest":
        yield from pytest_mistakes(arguments)


def file_mistakes(word: str) -> Iterator[str]:
    """Yield a mistake where a word names a file or folder of the repository that does not exist."""
    path = word.rpartition("=")[2].removeprefix(IMAGE_ROOT).removeprefix("./").partition("::")[0]
    named = "/" in path and path.partition("/")[0] in FOLDERS
    if named and not any(mark in path for mark in "*{$") and not _metavar(path) and not (ROOT / path).exists():
        yield f"{path}: there is no such file in the repository"


def _metavar(path: str) -> bool:
    """Return whether a path has a part in capitals, which stands for a name that the reader gives."""
    return re.search(r"(^|/)[A-Z]{3,}[A-Z_]*(\.py)?(/|$)", path) is not None


def segsweep_mistakes(arguments: Sequence[str]) -> Iterator[str]:
    """Yield mistakes in the arguments of the `segsweep` command."""
    options = yield from parsed(commands.command_parser(), arguments, f"segsweep {shlex.join(arguments)}")
    if options is not None and arguments[0] == "fetch":
        yield from script_mistakes(options.script, options.options)


def script_mistakes(script: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield mistakes in the command line of a study's script: its options, presets, and the names and values of `--set`.

    A script without a folder is one that `segsweep init` wrote; one of another folder is the reader's own.
    """
    path = ROOT / script.removeprefix(IMAGE_ROOT)
    if path.parent.name != "sweeps":
        path = init.LOCATIONS[0]
    if not path.is_file():
        return  # `file_mistakes` names it
    study, keywords = declared(path)
    instead = {name: keywords.get(name) for name in ("demo", "as_published")}
    presets = keywords.get("presets") or {}
    options = yield from parsed(
        study_script._parser(study, instead, presets), arguments, shlex.join(["python", script, *arguments])
    )
    if options is None:
        return
    try:
        chosen = study_script._chosen(study, instead, options)
        preset = getattr(options, "preset", None)
        narrow(narrow(chosen, presets[preset] if preset else []), options.set)
    except UserError as error:
        yield f"{script}: {error}"


@cache
def declared(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the study of a script, and the keywords with which the script calls `main`."""
    with mock.patch.object(study_script, "main") as main:
        exec(
            compile(path.read_text(), path, "exec"),
            {"__name__": "__main__", "__doc__": ast.get_docstring(ast.parse(path.read_text()))},
        )
    (study,), keywords = main.call_args
    return study, keywords


def parsed(parser: argparse.ArgumentParser, arguments: Sequence[str], shown: str) -> Iterator[str]:  # and returns the options
    """Yield the mistake that a parser reports, and return the options; None where it reports one."""
    with redirect_stderr(StringIO()) as errors, mock.patch("sys.stdout", StringIO()):
        try:
            return parser.parse_args(list(arguments))
        except SystemExit as end:
            code = end.code
    if code:
        yield f"{shown}: {errors.getvalue().strip().splitlines()[-1]}"
    return None


def pytest_mistakes(arguments: Sequence[str]) -> Iterator[str]:
    """Yield markers that pyproject.toml does not declare."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    markers = {marker.partition(":")[0] for marker in options["markers"]} | {"and", "or", "not"}
    for flag, value in pairwise(arguments):
        if flag == "-m":
            yield from (f"pytest -m: no marker {word!r}" for word in re.findall(r"\w+", value) if word not in markers)


def _loaded(load: Callable[[str], object], name: str) -> Callable[[str], Iterator[tuple[int, str]]]:
    """Return a checker of a format that a library reads."""

    def check(text: str) -> Iterator[tuple[int, str]]:
        try:
            load(text)
        except ValueError as error:
            yield 0, f"{name}: {' '.join(str(error).split())}"
        except yaml.YAMLError as error:
            yield 0, f"{name}: {' '.join(str(error).split())}"

    return check


CHECKS: dict[str, Callable[[str], Iterator[tuple[int, str]]]] = {
    "sh": shell_mistakes,
    "python": python_mistakes,
    "json": _loaded(json.loads, "JSON"),
    "toml": _loaded(tomllib.loads, "TOML"),
    "yaml": _loaded(lambda text: list(yaml.safe_load_all(text)), "YAML"),
}


# ---- prose ----


def span_mistakes(page: Page) -> Iterator[tuple[int, str]]:
    """Yield mistakes of the commands in the prose between backticks.

    A pattern of a command, with `...` or brackets, is not checked; a command that is only named, as `segsweep status`, needs no
    arguments.
    """
    for match in SPAN.finditer(page.prose):
        text = " ".join(match[1].split())
        if re.match(r"(segsweep|(\.venv/bin/)?(python|pytest)) [\w-]", text) and not re.search(r"\.\.\.|[\[\]|]", text):
            line = page.prose[: match.start()].count("\n") + 1
            found = (mistake for _, mistake in shell_mistakes(text))
            yield from ((line, mistake) for mistake in found if "--" in text or "are required" not in mistake)


def link_mistakes(page: Page) -> Iterator[tuple[int, str]]:
    """Yield links to files and headings that do not exist; addresses of the web are not opened."""
    prose = SPAN.sub(lambda match: " " * len(match[0]) if "\n" not in match[0] else match[0], page.prose)
    for match in LINK.finditer(prose):
        if re.match(r"[a-z]+:", match[1]):
            continue
        target, _, anchor = match[1].partition("#")
        path = page.path.parent / target
        line = prose[: match.start()].count("\n") + 1
        if target and not path.exists():
            yield line, f"link to {match[1]}: there is no such file"
        elif anchor and anchor not in (read(path) if target else page).anchors:
            yield line, f"link to {match[1]}: there is no such heading"


def docstring_commands(path: Path) -> list[str]:
    """Return the commands that the docstring of a study's script shows, without their comments."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    with suppress(StopIteration):
        return [line.strip() for line in text.splitlines() if line.startswith("    python ")]
    return []
