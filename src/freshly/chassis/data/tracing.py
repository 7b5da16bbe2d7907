"""Spans of the statements that SQLAlchemy sends. `CompiledQuery` traces its own."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from freshly.chassis.observability.tracing import Leaf, tracing

LEAF = "freshly_leaf"  # an attribute of SQLAlchemy's context of an execution


def trace_statements(engine: AsyncEngine) -> None:
    """Trace each statement of the engine, while this process sends traces."""
    if not tracing.is_on:
        return
    database = engine.dialect.name

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _begin(
        _connection: Any, _cursor: Any, statement: str, _: Any, context: Any, *__: Any
    ) -> None:
        if context is not None and not statement.startswith("BEGIN"):
            setattr(context, LEAF, tracing.statement_leaf(statement, database))

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def _end(
        _connection: Any, _cursor: Any, _statement: str, _: Any, context: Any, *__: Any
    ) -> None:
        _end_leaf(context, None)

    @event.listens_for(engine.sync_engine, "handle_error")
    def _fail(failure: Any) -> None:
        _end_leaf(failure.execution_context, failure.original_exception)


def _end_leaf(context: Any, error: BaseException | None) -> None:
    leaf: Leaf | None = getattr(context, LEAF, None)
    if leaf is not None:
        setattr(context, LEAF, None)
        leaf.end(error)
