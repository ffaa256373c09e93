import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from wg_orchestrator.adapters.sqlite.database import Database, opened
from wg_orchestrator.domain.admission import Admitted, Grant, InvitationUse, Revocation, RevocationId
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.receipt import Report
from wg_orchestrator.domain.stay import InvitationId
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.domain.uses import Use, taken

_SETTLING = 0.05
"""Seconds that uses which are settled wait for others to be stored with."""
_INTERVAL = 0.25
"""Seconds from one look whether another process has written to the file to the next."""


class SqliteAdmissionRecords:
    """AdmissionRecords in a SQLite file, for one service. Other processes may write revocations to it meanwhile."""

    are_lasting = True

    def __init__(self, path: Path) -> None:
        """Raises Unusable."""
        self._connection = opened(path)
        self._version = -1
        self.database = Database(self._connection, self._look)
        self._revocations: dict[RevocationId, Revocation] = {}
        self._found: dict[RevocationId, Revocation] | None = None
        """Revocations as another process has left them, which nobody here was told of yet."""
        self._followers: list[Callable[[RevocationId, Revocation | None], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look(self._connection)
        self._take_found()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store what is asked for, and look for what other processes have written, meanwhile."""
        self._loop = asyncio.get_running_loop()
        self.database.start()
        looking = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait([looking])
            await asyncio.to_thread(self.database.stop)

    def is_ready(self) -> bool:
        return True

    async def take(self, grant: Grant, tenant_id: TenantId, key: PublicKey, now: int) -> Admitted:
        def work(connection: sqlite3.Connection) -> Admitted:
            before = _use(connection, grant.invitation, key)
            use = taken(grant, before, 0 if before else _used(connection, grant.invitation), now)
            if before is None:
                _count(connection, grant, tenant_id)
            if use != before:
                put = "INSERT OR REPLACE INTO uses VALUES (?, ?, ?, ?, ?, ?)"
                values = (grant.invitation, key.text, tenant_id, use.since, use.pending, use.is_settled)
                connection.execute(put, values)
            return Admitted(use.since, use.is_settled)

        return await self.database.ask(work)

    async def settle(self, grant: Grant, tenant_id: TenantId, key: PublicKey) -> None:
        # It is in no hurry: until it is stored, the use is reserved for the key.
        await self._replace(grant.invitation, key, Use.settled, linger=_SETTLING)

    async def give_back(self, grant: Grant, tenant_id: TenantId, key: PublicKey) -> None:
        await self._replace(grant.invitation, key, Use.given_back)

    async def _replace(
        self, invitation: InvitationId, key: PublicKey, change: Callable[[Use], Use | None], linger: float = 0.0
    ) -> None:
        def work(connection: sqlite3.Connection) -> None:
            before = _use(connection, invitation, key)
            if before is None:
                return
            after = change(before)
            if after is None:
                free = "DELETE FROM uses WHERE invitation = ? AND public_key = ?"
                connection.execute(free, (invitation, key.text))
                connection.execute("UPDATE invitations SET used = used - 1 WHERE id = ?", (invitation,))
            else:
                connection.execute(
                    "UPDATE uses SET pending = ?, is_settled = ? WHERE invitation = ? AND public_key = ?",
                    (after.pending, after.is_settled, invitation, key.text),
                )

        await self.database.ask(work, linger=linger)

    async def note(self, grant: Grant, tenant_id: TenantId) -> None:
        await self.database.ask(lambda connection: _know(connection, grant, tenant_id))

    async def invitations(self) -> list[InvitationUse]:
        return await self.database.ask(read_invitations)

    async def has_admitted(self, invitation: InvitationId) -> bool:
        found = "SELECT EXISTS (SELECT 1 FROM uses WHERE invitation = ?)"
        return await self.database.ask(lambda one: bool(one.execute(found, (invitation,)).fetchone()[0]))

    def follow(self, follower: Callable[[RevocationId, Revocation | None], None]) -> None:
        for revocation in self._revocations.values():
            follower(revocation.id, revocation)
        self._followers.append(follower)

    async def revoke(self, revocation: Revocation) -> None:
        await self.database.ask(lambda connection: put_revocation(connection, revocation))
        self._tell(revocation.id, revocation)

    async def withdraw(self, revocation_id: RevocationId) -> bool:
        was_there = await self.database.ask(lambda connection: delete_revocation(connection, revocation_id))
        if was_there:
            self._tell(revocation_id, None)
        return was_there

    async def report(self, revocation_id: RevocationId, report: Report) -> None:
        put = "INSERT OR REPLACE INTO reports SELECT ?, ?, ?, ?, ?, ? FROM revocations WHERE id = ?"
        values = (revocation_id, report.node, report.put_out, report.of, report.by, report.since, revocation_id)
        await self.database.ask(lambda connection: connection.execute(put, values) and None)

    async def reports(self, revocation_id: RevocationId) -> list[Report]:
        return await self.database.ask(lambda connection: read_reports(connection, revocation_id))

    # What other processes have written

    def _look(self, connection: sqlite3.Connection) -> None:
        """In the thread, before anything is stored or read: what a take returns is later than what is known then."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._found = read_revocations(connection)
            self._version = version
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._take_found)

    def _take_found(self) -> None:
        found, self._found = self._found, None
        if found is None:
            return
        for revocation_id in [known for known in self._revocations if known not in found]:
            self._tell(revocation_id, None)
        for revocation in found.values():
            self._tell(revocation.id, revocation)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                await self.database.ask(lambda _: None)
            except Unavailable:
                continue

    def _tell(self, revocation_id: RevocationId, revocation: Revocation | None) -> None:
        if revocation is None:
            self._revocations.pop(revocation_id, None)
        elif self._revocations.get(revocation_id) == revocation:
            return
        else:
            self._revocations[revocation_id] = revocation
        for follower in self._followers:
            follower(revocation_id, revocation)


def _use(connection: sqlite3.Connection, invitation: InvitationId, key: PublicKey) -> Use | None:
    find = "SELECT since, pending, is_settled FROM uses WHERE invitation = ? AND public_key = ?"
    row = connection.execute(find, (invitation, key.text)).fetchone()
    return None if row is None else Use(row[0], row[1], bool(row[2]))


def _used(connection: sqlite3.Connection, invitation: InvitationId) -> int:
    row = connection.execute("SELECT used FROM invitations WHERE id = ?", (invitation,)).fetchone()
    return 0 if row is None else int(row[0])


def _count(connection: sqlite3.Connection, grant: Grant, tenant_id: TenantId) -> None:
    connection.execute(
        "INSERT INTO invitations VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (id) DO UPDATE SET used = used + 1",
        (grant.invitation, tenant_id, grant.display_name, grant.uses, int(grant.expires)),
    )


def _know(connection: sqlite3.Connection, grant: Grant, tenant_id: TenantId) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO invitations VALUES (?, ?, ?, ?, 0, ?)",
        (grant.invitation, tenant_id, grant.display_name, grant.uses, int(grant.expires)),
    )


def read_invitations(connection: sqlite3.Connection) -> list[InvitationUse]:
    rows = connection.execute("SELECT id, tenant, name, uses, used, expires FROM invitations ORDER BY id")
    return [InvitationUse(InvitationId(row[0]), TenantId(row[1]), *row[2:]) for row in rows]


def put_revocation(connection: sqlite3.Connection, revocation: Revocation) -> None:
    key = None if revocation.public_key is None else revocation.public_key.text
    connection.execute(
        "INSERT OR REPLACE INTO revocations VALUES (?, ?, ?, ?, ?, ?)",
        (revocation.id, revocation.invitation, key, revocation.tenant_id, revocation.at, revocation.until),
    )


def delete_revocation(connection: sqlite3.Connection, revocation_id: RevocationId) -> bool:
    connection.execute("DELETE FROM reports WHERE revocation = ?", (revocation_id,))
    return connection.execute("DELETE FROM revocations WHERE id = ?", (revocation_id,)).rowcount > 0


def read_revocations(connection: sqlite3.Connection) -> dict[RevocationId, Revocation]:
    rows = connection.execute("SELECT id, invitation, public_key, tenant, at, until FROM revocations ORDER BY at")
    found = (
        Revocation(RevocationId(row[0]), row[1], None if row[2] is None else PublicKey.parse(row[2]), *row[3:])
        for row in rows
    )
    return {revocation.id: revocation for revocation in found}


def read_reports(connection: sqlite3.Connection, revocation_id: RevocationId) -> list[Report]:
    rows = connection.execute("SELECT node, put_out, of, by, since FROM reports WHERE revocation = ?", (revocation_id,))
    return [Report(*row) for row in rows]
