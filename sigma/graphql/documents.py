"""Parsed and validated documents, kept: both cost far more than executing a typical one."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from graphql import DocumentNode, GraphQLError, GraphQLSchema, parse, validate
from graphql.validation import specified_rules
from graphql.validation.specified_rules import recommended_rules

from sigma.graphql.failures import Code

MAX_CHARACTERS = 20_000
MAX_TOKENS = 1_000
MAX_COMMENTS = 200
MAX_ERRORS = 10
# Syntax trees are about 200 times as large as their text, so this is some 50 MB at most.
CACHED_CHARACTERS = 250_000
RULES = (*specified_rules, *recommended_rules)


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
