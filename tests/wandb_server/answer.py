"""Answer a GraphQL document from nodes, without a schema.

The response contains only the selected fields. A selected field or argument without a resolver is recorded, so that a client with
new requests is noticed instead of receiving nulls.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from graphql import DocumentNode, parse
from graphql.language import ast
from graphql.utilities import value_from_ast_untyped

from wandb_server.nodes import Node

ABSTRACT = {"ArtifactCollection"}


@lru_cache(maxsize=512)
def parsed(document: str) -> DocumentNode:
    """Parse a document. Cached, since clients send the same few again and again."""
    return parse(document)


class Answer:
    """The operation of a document with its variables; `run` answers it, and `missing` then names fields without a resolver."""

    def __init__(self, document: str, variables: dict[str, Any]) -> None:
        definitions = parsed(document).definitions
        (self.operation,) = (each for each in definitions if isinstance(each, ast.OperationDefinitionNode))
        self.name = self.operation.name.value if self.operation.name else "anonymous"
        self.kind = self.operation.operation.value
        self.fragments = {each.name.value: each for each in definitions if isinstance(each, ast.FragmentDefinitionNode)}
        defaults = {
            each.variable.name.value: value_from_ast_untyped(each.default_value)
            for each in self.operation.variable_definitions or ()
            if each.default_value is not None
        }
        self.variables = {**defaults, **variables}
        self.missing: set[str] = set()

    def run(self, root: Node) -> dict[str, Any]:
        """Return the result of the operation on the root node."""
        return self._selected(self.operation.selection_set, root, self.kind)

    def _included(self, selection: ast.SelectionNode) -> bool:
        for directive in selection.directives or ():
            if directive.name.value in ("include", "skip"):
                (argument,) = directive.arguments or ()
                condition = bool(value_from_ast_untyped(argument.value, self.variables))
                if condition == (directive.name.value == "skip"):
                    return False
        return True

    def _selected(self, selections: ast.SelectionSetNode, node: Node, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for selection in filter(self._included, selections.selections):
            if isinstance(selection, ast.FieldNode):
                key = (selection.alias or selection.name).value
                value = self._field(selection, node, f"{path}.{selection.name.value}")
                merged = isinstance(value, dict) and isinstance(found.get(key), dict)
                found[key] = {**found[key], **value} if merged else value
            else:
                found.update(self._fragment(selection, node, path))
        return found

    def _fragment(self, selection: ast.SelectionNode, node: Node, path: str) -> dict[str, Any]:
        fragment: ast.FragmentDefinitionNode | ast.InlineFragmentNode
        if isinstance(selection, ast.FragmentSpreadNode):
            fragment = self.fragments[selection.name.value]
        else:
            assert isinstance(selection, ast.InlineFragmentNode)
            fragment = selection
        wanted = fragment.type_condition.name.value if fragment.type_condition else None
        fits = wanted is None or wanted in ABSTRACT or node.get("__typename") in (None, wanted)
        return self._selected(fragment.selection_set, node, path) if fits else {}

    def _field(self, field: ast.FieldNode, node: Node, path: str) -> Any:
        if field.name.value not in node:
            self.missing.add(path)
            return None
        value = node[field.name.value]
        return self._shaped(field, self._called(field, value, path) if callable(value) else value, path)

    def _called(self, field: ast.FieldNode, function: Callable[..., Any], path: str) -> Any:
        """Call a field's function; its parameter `input_` receives the argument `input`."""
        known = {name.rstrip("_"): name for name in inspect.signature(function).parameters}
        given = {each.name.value: value_from_ast_untyped(each.value, self.variables) for each in field.arguments or ()}
        self.missing |= {f"{path}({name}:)" for name in given.keys() - known.keys()}
        return function(**{known[name]: value for name, value in given.items() if name in known})

    def _shaped(self, field: ast.FieldNode, value: Any, path: str) -> Any:
        if field.selection_set is None or value is None:
            return value
        if isinstance(value, list):
            return [self._shaped(field, each, path) for each in value]
        return self._selected(field.selection_set, value, path)
