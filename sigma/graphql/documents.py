"""Documents before they are executed: parsed and validated once, for both cost far more than
executing a typical one, and measured: how deep, and how many objects (page sizes multiply).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionNode,
    VariableNode,
    parse,
    validate,
)
from graphql.validation import specified_rules
from graphql.validation.specified_rules import recommended_rules

from lib.graphql import DEFAULT_PAGE
from sigma.graphql.failures import Code

MAX_CHARACTERS = 20_000
MAX_TOKENS = 1_000
MAX_COMMENTS = 200
MAX_ERRORS = 10
# Syntax trees are about 200 times as large as their text, so this is some 50 MB at most.
CACHED_CHARACTERS = 250_000
RULES = (*specified_rules, *recommended_rules)
PAGED = frozenset(
    {
        "blockedContacts",
        "broadcasts",
        "conversationNotes",
        "conversations",
        "eventDeliveries",
        "members",
        "messageTemplates",
        "messages",
        "optOuts",
        "searchMessages",
    }
)
ITEMS = frozenset({"nodes", "edges"})
# Lists of as many as this argument names.
NAMED = {"conversationsByIds": "ids"}
# Fields that cost more than the object they return: counting a workspace, opening a callback, a
# list that has no pages.
WEIGHTS = {
    "totalCount": 600,
    "messages": 10,
    "searchMessages": 600,
    "conversations": 10,
    "counts": 50,
    "etaSeconds": 50,
    "health": 50,
    "qrSvg": 20,
    "ledger": 100,
    "cannedReplies": 300,
    "raw": 4,
    "wamid": 1,
    "sendWhatsAppMessage": 20,
    "preflightWhatsAppMessage": 20,
}
# What makes a list look through many for a few, up to the bound of its queries.
FILTERS = {
    "messages": (600, frozenset({"direction", "sender", "senderPhone", "status", "type"})),
    "conversations": (100, frozenset({"assignee", "labelId", "state", "unreadOnly"})),
}
# Introspection is bounded in depth by a validation rule; this bounds how often it is asked for.
INTROSPECTION = {"__schema": 500, "__type": 50}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document ready for execution, or the reasons why it never will be."""

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...] = ()
    code: Code = Code.GRAPHQL_VALIDATION_FAILED


class Documents:
    """The documents of a schema by their text; the least recently used go first."""

    def __init__(self, schema: GraphQLSchema, *, capacity: int = CACHED_CHARACTERS) -> None:
        self._schema, self._capacity = schema, capacity
        self._known: OrderedDict[str, Prepared] = OrderedDict()
        self._characters = 0
        self._lock = Lock()

    def prepare(self, text: str) -> Prepared:
        """Return the document of ``text``, parsed and validated."""
        with self._lock:
            known = self._known.get(text)
            if known is not None:
                self._known.move_to_end(text)
                return known
        prepared = self._prepare(text)
        self._keep(text, prepared)
        return prepared

    def _prepare(self, text: str) -> Prepared:
        try:
            document = parse(
                text,
                max_lexical_tokens=MAX_TOKENS,
                max_comments=MAX_COMMENTS,
                max_source_length=MAX_CHARACTERS,
            )
        except GraphQLError as error:
            return Prepared(None, (error,), Code.GRAPHQL_PARSE_FAILED)
        errors = validate(self._schema, document, RULES, max_errors=MAX_ERRORS)
        return Prepared(None, tuple(errors)) if errors else Prepared(document)

    def _keep(self, text: str, prepared: Prepared) -> None:
        if len(text) > self._capacity:
            return
        with self._lock:
            if text in self._known:
                return  # two threads prepared it at once
            self._known[text] = prepared
            self._characters += len(text)
            while self._characters > self._capacity:
                gone, _ = self._known.popitem(last=False)
                self._characters -= len(gone)


class LimitExceeded(Exception):
    """The document asks for too much; the message says how much is too much."""


@dataclass(frozen=True, slots=True)
class Size:
    """How deep a selection goes, and how many objects it asks for."""

    depth: int = 0
    cost: int = 0

    def __or__(self, other: Size) -> Size:
        return Size(max(self.depth, other.depth), self.cost + other.cost)


@dataclass(slots=True)
class _Measure:
    """One walk over an operation. Fragments are measured once: spreads of spreads would double."""

    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, object]
    known: dict[tuple[str, int], Size] = field(default_factory=dict)

    def of(self, selections: tuple[SelectionNode, ...], page: int = 1) -> Size:
        size = Size()
        for selection in selections:
            if isinstance(selection, FieldNode):
                size |= self._of_field(selection, page)
            elif isinstance(selection, FragmentSpreadNode):
                size |= self._of_fragment(selection.name.value, page)
            else:
                inline = cast(InlineFragmentNode, selection)
                size |= self.of(inline.selection_set.selections, page)
        return size

    def _of_fragment(self, name: str, page: int) -> Size:
        if (name, page) not in self.known:
            selections = self.fragments[name].selection_set.selections
            self.known[name, page] = self.of(selections, page)
        return self.known[name, page]

    def _of_field(self, node: FieldNode, page: int) -> Size:
        name = node.name.value
        if name in INTROSPECTION:
            return Size(1, INTROSPECTION[name])
        weight = WEIGHTS.get(name, 0)
        if node.selection_set is None:
            return Size(1, weight)
        size = self._page_of(node) if name in PAGED else 1
        more, filters = FILTERS.get(name, (0, frozenset()))
        if any(argument.name.value in filters for argument in node.arguments):
            weight += more
        inside = self.of(node.selection_set.selections, size)
        times = page if name in ITEMS else self._named_by(node)
        return Size(1 + inside.depth, weight + times * (1 + inside.cost))

    def _named_by(self, node: FieldNode) -> int:
        """Return how many objects a field's argument names; one, where it has no such argument."""
        ids = NAMED.get(node.name.value)
        value: object = next((a.value for a in node.arguments if a.name.value == ids), None)
        if isinstance(value, VariableNode):
            value = self.variables.get(value.name.value)
        if isinstance(value, ListValueNode):
            value = value.values
        return max(1, len(value)) if isinstance(value, list | tuple) else 1

    def _page_of(self, node: FieldNode) -> int:
        for argument in node.arguments:
            if argument.name.value in ("first", "last"):
                value: object = argument.value
                if isinstance(value, VariableNode):
                    value = self.variables.get(value.name.value, DEFAULT_PAGE)
                if isinstance(value, IntValueNode):
                    value = int(value.value)
                if isinstance(value, int | float):  # 10.0 is a valid Int
                    return max(1, int(value))
        return DEFAULT_PAGE


def check_size(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, object],
    *,
    max_depth: int,
    max_cost: int,
) -> None:
    """Refuse an operation of a valid document that is too large.

    Raises:
        LimitExceeded: too deep, too many objects, or it cannot even be measured.
    """
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    defaults = {
        definition.variable.name.value: _default(definition.default_value)
        for definition in operation.variable_definitions
        if definition.default_value is not None
    }
    try:
        size = _Measure(fragments, {**defaults, **variables}).of(operation.selection_set.selections)
    except RecursionError:
        raise LimitExceeded("The document's fragments are nested too deeply.") from None
    if size.depth > max_depth:
        raise LimitExceeded(f"The document is {size.depth} levels deep; {max_depth} are allowed.")
    if size.cost > max_cost:
        raise LimitExceeded(
            f"The document asks for about {size.cost} objects; {max_cost} are allowed. "
            "Ask for smaller pages or fewer fields."
        )


def _default(value: object) -> object:
    return int(value.value) if isinstance(value, IntValueNode) else value
