"""The tenant's transaction of one request, and how a resolver leaves it while a platform is asked.

A transaction must not stay open for as long as somebody else takes to answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

from graphql import FieldNode, OperationDefinitionNode

from lib.graphql import BadInput
from workspaces.scope import tenant_scope


class RequestTransaction:
    """Enters the tenant's scope for an operation; a context manager, used once."""

    def __init__(
        self, tenant_id: UUID, operation: OperationDefinitionNode, *, timeout_ms: int
    ) -> None:
        self._tenant_id, self._timeout_ms = tenant_id, timeout_ms
        self._fields = operation.selection_set.selections
        self._stack = ExitStack()
        self.was_left = False

    def __enter__(self) -> RequestTransaction:
        self._begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    @contextmanager
    def left(self) -> Iterator[None]:
        """Commit, be nobody's tenant inside, and go on in a new transaction.

        What is done before cannot be undone any more, so the field has to stand alone. Nor does any
        other run if the new transaction cannot begin.

        Raises:
            BadInput: the document has other fields beside the one that leaves.
        """
        if len(self._fields) != 1 or not isinstance(self._fields[0], FieldNode):
            raise BadInput("This mutation asks the platform; it must be alone in its document.")
        self.was_left = True
        try:
            self._stack.close()
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        self._stack.enter_context(tenant_scope(self._tenant_id, timeout_ms=self._timeout_ms))
