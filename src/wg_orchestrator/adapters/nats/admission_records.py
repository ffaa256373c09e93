from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import TypeVar

import anyio
import structlog

from wg_orchestrator.adapters.nats import admission_messages as messages
from wg_orchestrator.adapters.nats.background import Background
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.names import Unreadable
from wg_orchestrator.adapters.nats.revocation_feed import RevocationFeed
from wg_orchestrator.adapters.nats.stream import StoreUnusable, Stream
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.adapters.nats.timings import USUAL, Timings
from wg_orchestrator.adapters.nats.use_counts import UseCounts
from wg_orchestrator.domain.admission import Admitted, Grant, InvitationUse, Revocation, RevocationId
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.receipt import Report
from wg_orchestrator.domain.stay import InvitationId
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.domain.uses import Use, taken

logger = structlog.get_logger("wg_orchestrator.nats")

T = TypeVar("T")

_REPORT_TTL = 7 * 86_400
_WITHDRAWN_TTL = 86_400
_CLOSING_TIME = 0.25


class NatsAdmissionRecords:
    """AdmissionRecords in a JetStream stream of their own, in file storage, that all nodes share.

    Uses are taken by compare-and-set on the last messages of the invitation's and the key's subjects, so they hold
    however many nodes are asked at once. Revocations are followed by a feed. While that may lack one, `is_ready` is
    false. If the stream is lost, the nodes put back the revocations that they know; the uses are lost with it.
    """

    are_lasting = True

    def __init__(self, connection: ConnectionOptions, stream: StreamOptions, timings: Timings = USUAL) -> None:
        """`stream` is that of the tenants: this one has its name with `-admission` at the end."""
        self._timings = timings
        process = token_hex(8)
        self._connection = Connection(connection, timings)
        options = replace(
            stream,
            name=f"{stream.name}-admission",
            network="any",
            storage="file",
            followed=messages.FOLLOWED,
            has_to_last=True,
        )
        self._stream = Stream(self._connection, options, timings)
        self._uses = UseCounts(self._stream, process, timings)
        self._known = RevocationFeed(self._connection, self._stream, process, timings)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep up with the revocations inside the block."""
        work = Background(self._known.run)
        try:
            yield
        finally:
            await work.end(_CLOSING_TIME)
            with anyio.move_on_after(_CLOSING_TIME, shield=True):
                await self._connection.close()

    def is_ready(self) -> bool:
        return self._known.is_sound()

    async def take(self, grant: Grant, tenant_id: TenantId, key: PublicKey, now: int) -> Admitted:
        change = partial(_taken, grant, now)
        use = await self._ask(lambda: self._uses.change(grant, tenant_id, key, change))
        if use is None:
            raise Unavailable("the use was given back meanwhile")
        return Admitted(use.since, use.is_settled)

    async def settle(self, grant: Grant, tenant_id: TenantId, key: PublicKey) -> None:
        await self._ask(lambda: self._uses.change(grant, tenant_id, key, lambda use, _: use and use.settled()))

    async def give_back(self, grant: Grant, tenant_id: TenantId, key: PublicKey) -> None:
        await self._ask(lambda: self._uses.change(grant, tenant_id, key, lambda use, _: use and use.given_back()))

    async def note(self, grant: Grant, tenant_id: TenantId) -> None:
        await self._ask(lambda: self._uses.note(grant, tenant_id))

    async def invitations(self) -> list[InvitationUse]:
        return await self._ask(self._uses.invitations)

    async def has_admitted(self, invitation: InvitationId) -> bool:
        async def ask() -> bool:
            pattern = self._stream.subjects.of("key", invitation, "*")
            sequence, payload = await self._stream.last(pattern)  # The last one on any of them, which mostly says it.
            if sequence == 0 or payload:
                return sequence != 0
            for subject in await self._stream.subjects_with_messages(pattern):
                if (await self._stream.last(subject))[1]:
                    return True
            return False

        return await self._ask(ask)

    def follow(self, follower: Callable[[RevocationId, Revocation | None], None]) -> None:
        self._known.follow(follower)

    async def revoke(self, revocation: Revocation) -> None:
        await self._ask(lambda: self._put(revocation.id, messages.encode_revocation(revocation), 0))

    async def withdraw(self, revocation_id: RevocationId) -> bool:
        if revocation_id not in self._known:
            return False
        await self._ask(lambda: self._put(revocation_id, b"", _WITHDRAWN_TTL))
        return True

    async def report(self, revocation_id: RevocationId, report: Report) -> None:
        subject = self._stream.subjects.of("report", revocation_id, report.node)
        await self._ask(lambda: self._stream.replace(subject, messages.encode_report(report), _REPORT_TTL))

    async def reports(self, revocation_id: RevocationId) -> list[Report]:
        async def read() -> list[Report]:
            pattern = self._stream.subjects.of("report", revocation_id, "*")
            subjects = await self._stream.subjects_with_messages(pattern)
            found = [messages.read_report((await self._stream.last(subject))[1]) for subject in subjects]
            return [report for report in found if report is not None]

        return await self._ask(read)

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Raises Unavailable."""
        if not self.is_ready():
            raise Unavailable(self._known.fault or "NATS is away")
        try:
            with anyio.fail_after(self._timings.insistence):
                return await question()
        except (NotHeard, StoreUnusable, Unreadable, TimeoutError) as error:
            raise Unavailable("NATS is away") from error

    async def _put(self, revocation_id: RevocationId, payload: bytes, ttl: int) -> None:
        """Store what is said of a revocation, and wait until this node knows it."""
        position = self._known.position
        since = position.now
        subject = self._stream.subjects.of("revocation", revocation_id)
        await position.wait(await self._stream.replace(subject, payload, ttl), since)


def _taken(grant: Grant, now: int, use: Use | None, used: int) -> Use:
    return taken(grant, use, used, now)
