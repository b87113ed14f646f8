"""Fingerprint input of user-defined functions and classes: their source text, which does not depend on the Python version."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType, FunctionType
from typing import Any

DEEP = 3  # depth to which functions in closures of functions are followed
PLAIN = (bool, int, float, complex, str, bytes, type(None))


def code_of(function: Any, depth: int = 0) -> Any:
    """Return plain values that identify what a function, class or callable object does: its source text and the values it holds.

    The text is the source in its file without common indentation, comments included. The held values are the arguments of a
    `functools.partial`, closure variables, defaults, and the public attributes of a callable object. Numbers, texts and their
    containers count by value, functions by their code. Globals that a function refers to, such as a module's constants, do not
    count.
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
    """Return the source text of an object's class, independent of the object's attributes."""
    return _text(type(value))


def _bound(function: FunctionType, depth: int) -> list[Any]:
    """Return the values in a function's closure and defaults, if there are any."""
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
    """Return the public attributes of an object, converted like other held values."""
    return _all_held({name: value for name, value in getattr(value, "__dict__", {}).items() if not name.startswith("_")}, depth)


def _all_held(values: Mapping[str, Any], depth: int) -> dict[str, Any]:
    return {name: _held(value, depth) for name, value in sorted(values.items())}


def _held(value: Any, depth: int) -> Any:
    """Return a held value as plain values: its repr, a function's code, or for other objects only the name of the type."""
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
    """Return the source text of a function or class; its byte code if there is no source (code typed at a prompt)."""
    try:
        if isinstance(function, FunctionType) and function.__name__ == "<lambda>":
            return _lambda_text(function)
        return textwrap.dedent(inspect.getsource(function)).rstrip()
    except (OSError, TypeError, SyntaxError):
        parts = vars(function).values() if inspect.isclass(function) else [function]
        return [_bytes(part.__code__) for part in parts if hasattr(part, "__code__")]


def _lambda_text(function: FunctionType) -> str:
    """Return the text of a lambda only, not of the lines that contain it: they may contain another lambda."""
    lines, _ = inspect.findsource(function)
    text, code = "".join(lines), function.__code__
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda) and node.lineno == code.co_firstlineno]
    held = [(_held_spans(node, code), node.lineno, node.col_offset, node) for node in found]
    if not held or (most := max(held, key=lambda each: each[:3]))[0] == 0:  # among equal lambdas the innermost
        raise OSError("the lambda is not found in its file")
    segment = ast.get_source_segment(text, most[3]) or ""
    return "\n".join(line.strip() for line in segment.splitlines())


def _held_spans(node: ast.Lambda, code: CodeType) -> int:
    """Return the number of instructions in `code` whose source position lies within the body of a lambda."""
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
