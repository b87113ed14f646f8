"""What tells the code of a user's functions and classes apart: its source text, which no version of Python writes otherwise."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType, FunctionType
from typing import Any

DEEP = 3  # functions within the closures of functions that are looked at
PLAIN = (bool, int, float, complex, str, bytes, type(None))


def code_of(function: Any, depth: int = 0) -> Any:
    """Return what a function, class or callable object does, as plain values: its text, and the plain values that it holds.

    The text is that of its file without the indentation that all its lines have, comments included. Held are arguments of a
    `functools.partial`, values of a closure, defaults, and the public attributes of an object that is called; of these numbers,
    texts and their lists count, and functions by their own code. What a function only names, as a module's constant, does not.
    """
    if isinstance(function, partial):
        held = [_held(value, depth) for value in function.args]
        return [code_of(function.func, depth), held, _all_held(function.keywords, depth)]
    if inspect.ismethod(function):
        return [code_of(function.__func__, depth), _state(function.__self__, depth)]
    if isinstance(function, FunctionType):
        return [_text(function), *_bound(function, depth)]
    if inspect.isclass(function) or inspect.isroutine(function):
        return [_text(function)]
    return [_text(type(function)), _state(function, depth)]


def class_code(value: Any) -> Any:
    """Return the text of an object's class, whatever the object holds."""
    return _text(type(value))


def _bound(function: FunctionType, depth: int) -> list[Any]:
    """Return the values that a function's closure and defaults hold, where there are any."""
    cells = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    defaults = {f"default {number}": value for number, value in enumerate(function.__defaults__ or ())}
    held = _all_held({**cells, **defaults, **(function.__kwdefaults__ or {})}, depth)
    return [held] if held else []


def _state(value: Any, depth: int) -> Mapping[str, Any]:
    """Return the public attributes of an object."""
    return _all_held({name: value for name, value in getattr(value, "__dict__", {}).items() if not name.startswith("_")}, depth)


def _all_held(values: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {name: _held(value, depth) for name, value in sorted(values.items())}


def _held(value: Any, depth: int) -> Any:
    """Return a value that a function holds as a text, functions as their code; of other objects the name of their type alone."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, list | tuple):
        return [_held(each, depth) for each in value]
    if isinstance(value, Mapping):
        return _all_held({str(name): each for name, each in value.items()}, depth)
    if depth < DEEP and (isinstance(value, FunctionType | partial) or inspect.ismethod(value)):
        return code_of(value, depth + 1)
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _text(function: Callable[..., Any]) -> Any:
    """Return the source text of a function or class; its byte code where there is none, as for what was typed at a prompt."""
    try:
        if isinstance(function, FunctionType) and function.__name__ == "<lambda>":
            return _lambda_text(function)
        return textwrap.dedent(inspect.getsource(function)).rstrip()
    except (OSError, TypeError, SyntaxError):
        parts = vars(function).values() if inspect.isclass(function) else [function]
        return [_bytes(part.__code__) for part in parts if hasattr(part, "__code__")]


def _lambda_text(function: FunctionType) -> str:
    """Return the text of a lambda alone, not that of the lines on which it stands: another one may stand there too."""
    lines, _ = inspect.findsource(function)
    text, code = "".join(lines), function.__code__
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno]
    held = [(_held_spans(node, code), node.lineno, node.col_offset, node) for node in found]
    if not held or (most := max(held, key=lambda each: each[:3]))[0] == 0:  # of equal ones the innermost
        raise OSError("the lambda is not found in its file")
    segment = ast.get_source_segment(text, most[3]) or ""
    return "\n".join(line.strip() for line in segment.splitlines())


def _held_spans(node: ast.Lambda, code: CodeType) -> int:
    """Return how many instructions of a code lie within the body of a lambda."""
    body = node.body
    first, last = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    count = 0
    for line, end, column, end_column in code.co_positions():
        if line is not None and end is not None and column is not None and end_column is not None:
            count += first <= (line, column) < (end, end_column) <= last
    return count


def _bytes(code: CodeType) -> Any:
    constants = [_bytes(value) if isinstance(value, CodeType) else repr(value) for value in code.co_consts]
    return [code.co_code.hex(), constants, list(code.co_names)]
