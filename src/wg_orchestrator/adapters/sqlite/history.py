import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

from wg_orchestrator.adapters.sqlite.database import Database
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.history import Holding, Record
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant_id import TenantId

MOST = 2_000_000
"""Holdings that are kept: about half a gigabyte."""
_SIGN = 2.0
"""Seconds from one sign of life in the file to the next."""
_TIDY = 10.0
"""Seconds from one removal of what is old to the next."""
_TIDY_AT_ONCE = 20_000
_ROWS = (256, 32, 4, 1)
"""Rows that go into one statement. SQLite does a statement without asking for Python's lock in between, which the
service needs; and these few statements are prepared once.
"""
_BEGIN = "INSERT INTO holdings VALUES {}"
_END = """
UPDATE holdings SET until = max(since, ended.column2), cause = ended.column3 FROM (VALUES {}) AS ended
WHERE id = ended.column1 AND until IS NULL
"""
_END_UNKNOWN = """
UPDATE holdings SET until = max(since, ?), cause = ?
WHERE tenant = ? AND address = ? AND stay = ? AND until IS NULL
"""
_ALIVE = "INSERT INTO signs VALUES ('alive', ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at"
_CLOSE = """
UPDATE holdings SET until = max(since, coalesce((SELECT at FROM signs WHERE name = 'alive'), since)), cause = ?
WHERE until IS NULL
"""
_FIND = """
SELECT stay, public_key, display_name, since, until, cause FROM holdings
WHERE tenant = ? AND address = ? ORDER BY since, stay
"""
_OLD = "DELETE FROM holdings WHERE id > ? AND id <= ? AND until < ?"
_TOO_MANY = "DELETE FROM holdings WHERE id IN (SELECT id FROM holdings WHERE until IS NOT NULL ORDER BY id LIMIT ?)"

_Row = tuple[Any, ...]


class SqliteHistory:
    """The History of a service that is one node, in its state file. It ends what was open when it begins.

    Holdings are added at the end of a table without an index, which would cost more than all the rest: whoever asks
    has the whole table read, beside everything else.
    """

    def __init__(
        self, path: Path, database: Database, days: int, most: int = MOST, clock: Callable[[], float] = time.time
    ) -> None:
        """`path` is the file of the database. What ended `days` ago is forgotten, and what came first if there are more
        than `most`.
        """
        self._path = path
        self._database = database
        self._kept = days * 86_400
        self._most = most
        self._clock = clock
        self._last_id = 0
        self._count = 0
        self._tidied = 0
        """The row up to which the table was looked through for what is old, in this round."""
        self._open: dict[StayId, int] = {}
        """The rows of those who are in."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have what is stored last, meanwhile. The database has to run."""

        def begin(connection: sqlite3.Connection) -> tuple[int, int]:
            connection.execute(_CLOSE, (LeaveCause.LOST.value,))
            found = connection.execute("SELECT coalesce(max(id), 0), count(*) FROM holdings").fetchone()
            return found[0], found[1]

        self._last_id, self._count = await self._database.ask(begin, linger=0)
        works = [asyncio.create_task(work()) for work in (self._give_signs, self._keep_tidying)]
        try:
            yield
        finally:
            for work in works:
                work.cancel()
            await asyncio.wait(works)

    async def put(self, records: Sequence[Record]) -> None:
        last_id, opened = self._last_id, dict[StayId, int]()
        begun, ended, unknown = dict[int, _Row](), list[_Row](), list[_Row]()
        for record in records:
            stay, at = record.stay, int(record.at * 1000)
            peer = stay.peer
            if record.cause is None and stay.id not in self._open:
                last_id += 1
                opened[stay.id] = last_id
                begun[last_id] = (
                    last_id, stay.tenant_id, peer.virtual_ip.packed, at, stay.id, peer.public_key.text,
                    peer.display_name, None, None,
                )  # fmt: skip
            elif record.cause is None:
                continue
            elif (row := opened.pop(stay.id, None)) is not None:  # Most who come and go at once are one row at once.
                begun[row] = (*begun[row][:7], max(at, begun[row][3]), record.cause.value)
            elif (row := self._open.get(stay.id)) is not None:
                ended.append((row, at, record.cause.value))
            else:
                unknown.append((at, record.cause.value, stay.tenant_id, peer.virtual_ip.packed, stay.id))
        now = int(self._clock() * 1000)

        def work(connection: sqlite3.Connection) -> None:
            _in_few(connection, _BEGIN, list(begun.values()))
            _in_few(connection, _END, ended)
            for one in unknown:
                connection.execute(_END_UNKNOWN, one)
            connection.execute(_ALIVE, (now,))

        await self._database.ask(work, linger=0)
        self._last_id = last_id
        self._count += len(begun)
        self._open.update(opened)
        for record in records:
            if record.cause is not None:
                self._open.pop(record.stay.id, None)

    async def holdings(self, tenant_id: TenantId, address: VirtualIP) -> list[Holding]:
        try:
            rows = await asyncio.to_thread(self._find, tenant_id, address)
        except sqlite3.Error as error:
            raise Unavailable("the state file can't be used now") from error
        found = dict[tuple[float, StayId], Holding]()
        for stay, key, name, since, until, cause in rows:
            end = None if until is None else until / 1000
            holding = Holding(StayId(stay), key, name, since / 1000, end, cause)
            found.setdefault(holding.place, holding)
        return list(found.values())

    def _find(self, tenant_id: TenantId, address: VirtualIP) -> list[_Row]:
        with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(_FIND, (tenant_id, address.packed)).fetchall()

    async def tidy(self) -> None:
        """Forget what is old, in the next part of the table, and what is too much. Raises Unavailable."""
        latest, first = int((self._clock() - self._kept) * 1000), self._tidied
        too_many = max(0, self._count - self._most)

        def work(connection: sqlite3.Connection) -> int:
            removed = connection.execute(_OLD, (first, first + _TIDY_AT_ONCE, latest)).rowcount
            if too_many > removed:
                removed += connection.execute(_TOO_MANY, (too_many - removed,)).rowcount
            return removed

        removed = await self._database.ask(work, linger=0)
        self._count -= removed
        self._tidied = 0 if first + _TIDY_AT_ONCE >= self._last_id else first + _TIDY_AT_ONCE

    async def _give_signs(self) -> None:
        while True:
            await asyncio.sleep(_SIGN)
            with suppress(Unavailable):  # Whoever needs the file is told.
                await self._database.ask(self._give_sign)

    def _give_sign(self, connection: sqlite3.Connection) -> None:
        connection.execute(_ALIVE, (int(self._clock() * 1000),))

    async def _keep_tidying(self) -> None:
        while True:
            with suppress(Unavailable):
                await self.tidy()
            await asyncio.sleep(_TIDY)


def _in_few(connection: sqlite3.Connection, statement: str, rows: list[_Row]) -> None:
    """Execute a statement with all rows in as few steps as that takes."""
    first = 0
    for size in _ROWS:
        while len(rows) - first >= size:
            part = rows[first : first + size]
            values = ",".join([f"({','.join('?' * len(part[0]))})"] * size)
            connection.execute(statement.format(values), [value for row in part for value in row])
            first += size
