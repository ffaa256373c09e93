import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_hex

import anyio
import structlog

from wg_orchestrator.adapters.nats.claim import Claim, Unreadable, decode
from wg_orchestrator.adapters.nats.claims import COMMIT_TIMEOUT, Claims
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.feed import Feed, FeedBroken, Position
from wg_orchestrator.adapters.nats.lease import LEASE_TIME, NodeLease, read_lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.snapshot import Snapshot
from wg_orchestrator.adapters.nats.stream import StoreUnusable, Stream, StreamOptions
from wg_orchestrator.domain.errors import Conflict, Unavailable
from wg_orchestrator.domain.events import MembershipEvent, PeerJoined, PeerLeft
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId

logger = structlog.get_logger("wg_orchestrator.nats")

DOUBT_TIME = 2 * LEASE_TIME
"""Seconds that a node has to put its peers back after the store was lost, before the others let them go."""
RETRY_DELAY = 0.25
TIDY_INTERVAL = 0.1
AT_ONCE = 64
"""Claims that a node puts back or takes out at the same time."""


class NatsTenantRepository:
    """A TenantRepository for many nodes: each follows the one order in which NATS JetStream has stored all claims.

    While it is `running` it keeps up with the stream by itself. While NATS is away, or this node's lease is in doubt,
    what `get` shows stays as it was and nothing new is committed. When NATS is back, with its store or without, the
    claims of the peers that are connected here are put back, and those of the ones that have gone are taken out.
    """

    def __init__(
        self, network: Network, max_peers_per_tenant: int, connection: ConnectionOptions, stream: StreamOptions
    ) -> None:
        self._process = token_hex(8)
        self._sessions = 0
        self._ledger = Ledger(network, max_peers_per_tenant, self._process)
        self._position = Position()
        self._connection = Connection(connection)
        self._stream = Stream(self._connection, stream)
        self._claims = Claims(self._stream, self._ledger, self._position)
        self._lease = NodeLease(self._stream, self._ledger)
        self._store: str | None = None
        # Once it has caught up.
        self._feed: Feed | None = None
        self._doubt_until = 0.0

    def get(self, tenant_id: TenantId) -> Tenant:
        return self._ledger.tenant(tenant_id)

    def count(self) -> int:
        return self._ledger.count()

    def follow(self, follower: Callable[[MembershipEvent], None]) -> None:
        self._ledger.followers.append(follower)

    async def commit(self, event: MembershipEvent) -> None:
        if isinstance(event, PeerJoined):
            await self._join(event)
        else:
            await self._leave(event)

    def is_ready(self) -> bool:
        """Whether joins can be committed: caught up with the feed, with a lease, and connected."""
        return self._feed is not None and self._feed.is_sound() and self._lease.node is not None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep up with the stream. At the end the node's lease is given up, and so are all claims that it still has."""
        lease = asyncio.create_task(self._lease.keep(lambda: self._feed is not None))
        running = asyncio.create_task(self._run())
        try:
            yield
        finally:
            lease.cancel()
            await asyncio.wait([lease], timeout=COMMIT_TIMEOUT)
            with anyio.move_on_after(COMMIT_TIMEOUT, shield=True):
                try:
                    await self._lease.give_up()
                except (NotHeard, StoreUnusable) as error:
                    logger.warning("lease not given up", error=str(error))
            running.cancel()
            await asyncio.wait([running], timeout=COMMIT_TIMEOUT)
            with anyio.move_on_after(COMMIT_TIMEOUT, shield=True):
                await self._connection.close()

    # Commits

    async def _join(self, event: PeerJoined) -> None:
        node = self._lease.node
        if node is None or not self.is_ready():
            raise Unavailable("NATS is away")
        self._ledger.expect(event)
        self._sessions += 1
        claim = Claim(event.tenant_id, event.peer, node, f"{self._process}-{self._sessions}", 0)
        self._ledger.wanted.add(claim.session)
        joined = False
        try:
            await self._claims.enrol(claim)
            joined = self._ledger.holds(claim)
        except (StoreUnusable, TimeoutError) as error:
            raise Unavailable("NATS is away") from error
        finally:
            self._ledger.forgo(event)
            if not joined:
                self._ledger.disown(claim)
        if not joined:
            raise Conflict(f"{event.peer.virtual_ip} was claimed and lost at once")

    async def _leave(self, event: PeerLeft) -> None:
        claim = self._ledger.holder((event.tenant_id, event.peer.virtual_ip))
        if claim is None or claim.peer != event.peer:
            raise Conflict(f"{event.peer.virtual_ip} is not held by that peer in {event.tenant_id}")
        if claim.session not in self._ledger.wanted:
            return  # It has left already; its equal is another node's.
        self._ledger.wanted.discard(claim.session)
        try:
            if claim.node:
                await self._claims.vacate(claim)
        except (StoreUnusable, TimeoutError) as error:
            raise Unavailable("NATS is away") from error
        finally:
            self._ledger.disown(claim)

    # Keeping up

    async def _run(self) -> None:
        known = ""
        while True:
            try:
                await self._connection.connect()
                await self._follow()
            except (NotHeard, StoreUnusable, FeedBroken) as error:
                if self._feed is not None or str(error) != known:
                    logger.warning("feed interrupted", error=str(error))
                known = str(error)
            except Exception:
                logger.exception("feed failed")
            finally:
                self._feed = None
            await anyio.sleep(RETRY_DELAY)

    async def _follow(self) -> None:
        """Follow one feed until it breaks."""
        state = await self._stream.ensure()
        snapshot, gathered = Snapshot(), Position()
        target: Snapshot | Ledger = snapshot
        position = gathered

        def see(subject: str, revision: int, payload: bytes) -> None:
            self._see(target, subject, revision, payload)
            position.reach(revision)

        feed = Feed(self._connection, self._stream, see)

        async def tend() -> None:
            nonlocal target, position
            await gathered.wait(await self._stream.mark(self._process))
            own_lease_was_lost = await self._lease.complete(snapshot)
            store_was_lost = self._store is not None and (
                self._store != state.created or gathered.revision < self._position.revision or own_lease_was_lost
            )
            if store_was_lost:
                logger.warning("store lost", stream_created=state.created)
                self._doubt_until = time.monotonic() + DOUBT_TIME
            self._store = state.created
            self._ledger.reconcile(snapshot, store_was_lost)
            target, position = self._ledger, self._position
            position.reach(gathered.revision)
            self._feed = feed
            await _until_one_fails(self._lease.watch, self._tidy)

        async with feed.opened():
            await _until_one_fails(feed.run, tend)

    def _see(self, target: Snapshot | Ledger, subject: str, revision: int, payload: bytes) -> None:
        kind, *tokens = self._stream.subjects.split(subject)
        if len(tokens) != (2 if kind == "peer" else 1):
            logger.warning("unreadable message", subject=subject)
        elif kind == "node":
            target.see_lease(tokens[0], read_lease(revision, payload))
        elif kind == "peer":
            try:
                target.see_claim(decode(tokens[0], tokens[1], payload, revision))
            except Unreadable as error:
                logger.warning("unreadable message", error=str(error))

    async def _tidy(self) -> None:
        """Put back what belongs into the stream and take out what does not, for ever."""
        limiter = anyio.CapacityLimiter(AT_ONCE)
        while True:
            await anyio.sleep(TIDY_INTERVAL)
            if self._lease.node is None:
                continue
            if time.monotonic() > self._doubt_until:
                self._ledger.give_up_missing()
            async with anyio.create_task_group() as tasks:
                for work in [*self._work(), *await self._sweeping()]:
                    tasks.start_soon(self._try, limiter, work)

    def _work(self) -> list[Callable[[], Awaitable[None]]]:
        node = self._lease.node
        work: list[Callable[[], Awaitable[None]]] = [
            partial(self._claims.enrol, claim.backed_by(node))
            for claim in self._ledger.unbacked.values()
            if node is not None and self._ledger.is_ours(claim)
        ]
        work += [partial(self._claims.vacate, claim) for claim in self._ledger.ghosts.values()]
        return work

    async def _sweeping(self) -> list[Callable[[], Awaitable[None]]]:
        """Clear up after the nodes that are gone: one of the others is enough for that."""
        stale = [claim for claim in self._ledger.stale.values() if self._ledger.holder(claim.place) is None]
        if not stale or self._lease.node != min(self._ledger.leases):
            return []
        try:
            # Not those of a node of which nothing has been heard yet.
            gone = {node for node in {claim.node for claim in stale} if await self._lease.find(node) is None}
        except NotHeard as error:
            logger.debug("not swept yet", error=str(error))
            return []
        return [partial(self._claims.vacate, claim) for claim in stale if claim.node in gone]

    async def _try(self, limiter: anyio.CapacityLimiter, work: Callable[[], Awaitable[None]]) -> None:
        """What fails now is tried again, if by then it is still to be done."""
        async with limiter:
            try:
                await work()
            except (Conflict, StoreUnusable, TimeoutError) as error:
                logger.debug("not put right yet", error=str(error))


async def _until_one_fails(*works: Callable[[], Awaitable[None]]) -> None:
    """Run works that do not end by themselves. Raises what the first one to fail raises."""
    failures: list[Exception] = []

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as failure:
            failures.append(failure)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(run, work)
    if failures:
        raise failures[0]
