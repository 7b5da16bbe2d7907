"""Connections for read-only queries outside a transaction."""

from collections.abc import Mapping
from time import monotonic
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.util import greenlet_spawn

from freshly.chassis.data.engine import IDLE, USED
from freshly.chassis.data.queries import CompiledQuery, Found

STAYS = 10  # seconds


class _Loan:
    """A connection that is out of its pool for a while."""

    __slots__ = ("connection", "driver", "pool", "since", "used")

    def __init__(self, pool: QueuePool, connection: PoolProxiedConnection) -> None:
        self.pool, self.connection = pool, connection
        self.driver: Any = connection.driver_connection
        self.since = self.used = monotonic()

    @property
    def is_over(self) -> bool:
        return monotonic() - self.since > STAYS or self.driver.is_closed()

    def end(self) -> None:
        """Within a greenlet. The pool is told when it was used, not when it came back."""
        facts = self.connection.info
        facts[USED], facts[IDLE] = self.used, True
        self.connection.close()

    def discard(self) -> None:
        """The pool is gone, and would not close what comes back to it. Within a greenlet."""
        self.connection.detach()
        self.connection.close()


class ReadPool:
    """Puts questions, each on its own, outside of any transaction.

    To take a connection from SQLAlchemy's pool and to give it back needs a greenlet, and takes
    several times as long as a short statement. So those that were taken stay at hand: besides those
    in the pool as many as it keeps open, at most. The first question after ten seconds gives one
    back, and the pool looks after it again (whether it lives, and how old it is).
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._pool, self._dialect = _pool_of(engine.sync_engine), engine.sync_engine.dialect
        self._at_hand: list[_Loan] = []
        event.listen(engine.sync_engine, "engine_disposed", self._close)

    @property
    def connections(self) -> int:
        """That the pool keeps open."""
        return self._pool.size()

    @property
    def at_hand(self) -> int:
        """Connections that nobody uses, and nobody but a question gets."""
        return len(self._at_hand)

    async def run(self, question: CompiledQuery, asked: Mapping[str, Any]) -> Found:
        loan = await self._take()
        try:
            found = await question.run(loan.driver, self._dialect, asked)
        except Exception as error:
            await greenlet_spawn(loan.connection.invalidate, error)
            raise
        except BaseException:  # whoever asked has gone: what comes now is nobody's answer
            loan.connection.invalidate()
            raise
        loan.used = monotonic()
        await self._put_back(loan)
        return found

    async def make_room(self) -> None:
        """Ends a loan, for somebody who needs a connection of the pool."""
        if self._at_hand:
            await greenlet_spawn(self._at_hand.pop(0).end)

    async def _take(self) -> _Loan:
        """The one that was used last, so that those grow old that are not needed."""
        while self._at_hand:
            loan = self._at_hand.pop()
            if not loan.is_over:
                return loan
            await greenlet_spawn(loan.end)
        try:
            pool = self._pool
            return _Loan(pool, await greenlet_spawn(pool.connect))
        except self._dialect.loaded_dbapi.Error as error:
            raise OperationalError(None, None, error, connection_invalidated=True) from error

    async def _put_back(self, loan: _Loan) -> None:
        if len(self._at_hand) < self._pool.size() and loan.pool is self._pool:
            self._at_hand.append(loan)
        else:
            await greenlet_spawn(loan.end if loan.pool is self._pool else loan.discard)

    def _close(self, engine: Engine) -> None:
        """The pool is gone, and there is a new one."""
        self._pool = _pool_of(engine)
        while self._at_hand:
            self._at_hand.pop().discard()


def _pool_of(engine: Engine) -> QueuePool:
    assert isinstance(engine.pool, QueuePool), engine.pool
    return engine.pool
