import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

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
_TIDY = 60.0
"""Seconds from one removal of what is old to the next."""
_TIDY_AT_ONCE = 5000

# One statement for a whole batch: SQLite does it without asking for Python's lock in between, which the service needs.
_BEGIN = """
INSERT OR IGNORE INTO holdings (tenant, address, since, stay, public_key, display_name)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
FROM json_each(?)
"""
_END = """
UPDATE holdings SET until = max(since, json_extract(ended.value, '$[2]')), cause = json_extract(ended.value, '$[4]')
FROM json_each(?) AS ended
WHERE tenant = json_extract(ended.value, '$[0]') AND address = json_extract(ended.value, '$[1]')
    AND stay = json_extract(ended.value, '$[3]') AND until IS NULL
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
_OLD = """
DELETE FROM holdings WHERE (tenant, address, since, stay) IN
(SELECT tenant, address, since, stay FROM holdings WHERE until < ? ORDER BY until LIMIT ?)
"""
_TOO_MANY = """
DELETE FROM holdings WHERE (tenant, address, since, stay) IN
(SELECT tenant, address, since, stay FROM holdings WHERE until IS NOT NULL ORDER BY until LIMIT ?)
"""


class SqliteHistory:
    """The History of a service that is one node, in its state file. It ends what was open when it begins."""

    def __init__(self, database: Database, days: int, most: int = MOST, clock: Callable[[], float] = time.time) -> None:
        """What ended `days` ago is forgotten, and what ended first if there are more than `most`."""
        self._database = database
        self._kept = days * 86_400
        self._most = most
        self._clock = clock

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have what is stored last, meanwhile. The database has to run."""
        await self._database.ask(lambda one: one.execute(_CLOSE, (LeaveCause.LOST.value,)) and None, linger=0)
        works = [asyncio.create_task(work()) for work in (self._give_signs, self._keep_tidying)]
        try:
            yield
        finally:
            for work in works:
                work.cancel()
            await asyncio.wait(works)

    async def put(self, records: Sequence[Record]) -> None:
        begun = json.dumps([_row(one) for one in records if one.cause is None])
        ended = json.dumps([(*_row(one)[:4], one.cause.value) for one in records if one.cause is not None])
        now = _ms(self._clock())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_BEGIN, (begun,))
            connection.execute(_END, (ended,))
            connection.execute(_ALIVE, (now,))

        await self._database.ask(work, linger=0)

    async def holdings(self, tenant_id: TenantId, address: VirtualIP) -> list[Holding]:
        rows = await self._database.ask(lambda one: one.execute(_FIND, (tenant_id, str(address))).fetchall())
        return [
            Holding(StayId(row[0]), row[1], row[2], row[3] / 1000, None if row[4] is None else row[4] / 1000, row[5])
            for row in rows
        ]

    async def tidy(self) -> None:
        """Forget what is old, or too much. Raises Unavailable."""
        latest = _ms(self._clock() - self._kept)

        def work(connection: sqlite3.Connection) -> bool:
            found = connection.execute(_OLD, (latest, _TIDY_AT_ONCE)).rowcount
            count = connection.execute("SELECT count(*) FROM holdings").fetchone()[0]
            if count > self._most:
                found += connection.execute(_TOO_MANY, (min(count - self._most, _TIDY_AT_ONCE),)).rowcount
            return found > 0

        while await self._database.ask(work, linger=0):
            pass

    async def _give_signs(self) -> None:
        while True:
            await asyncio.sleep(_SIGN)
            with suppress(Unavailable):  # Whoever needs the file is told.
                await self._database.ask(self._give_sign)

    def _give_sign(self, connection: sqlite3.Connection) -> None:
        connection.execute(_ALIVE, (_ms(self._clock()),))

    async def _keep_tidying(self) -> None:
        while True:
            with suppress(Unavailable):
                await self.tidy()
            await asyncio.sleep(_TIDY)


def _row(record: Record) -> tuple[str, str, int, str, str, str]:
    stay, peer = record.stay, record.stay.peer
    return stay.tenant_id, str(peer.virtual_ip), _ms(record.at), stay.id, peer.public_key.text, peer.display_name


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
