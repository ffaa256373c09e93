from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_hex

import anyio
import structlog

from wg_orchestrator.adapters.nats.background import Background
from wg_orchestrator.adapters.nats.claim import Claim, ClaimReader, Subjects, Unreadable, parse_node
from wg_orchestrator.adapters.nats.claims import Claims
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.epoch import read_epoch
from wg_orchestrator.adapters.nats.feed import Feed, FeedBroken, Position
from wg_orchestrator.adapters.nats.lease import NodeLease, parse_lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.snapshot import Snapshot
from wg_orchestrator.adapters.nats.stream import StoreUnusable, Stream, StreamOptions
from wg_orchestrator.adapters.nats.telemetry import StoreTelemetry
from wg_orchestrator.adapters.nats.tenants import Tenants
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.adapters.nats.together import until_one_fails
from wg_orchestrator.adapters.nats.upkeep import Upkeep
from wg_orchestrator.domain import events
from wg_orchestrator.domain.errors import Conflict, Unavailable
from wg_orchestrator.domain.events import Committed, MembershipEvent, PeerJoined, PeerLeft, assert_never
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry

logger = structlog.get_logger("wg_orchestrator.nats")

FAREWELL_TIME = 5.0
"""Seconds to end the lease, unless the caller gives less."""
LEAST_FAREWELL_TIME = 0.5
CLOSING_TIME = 0.25
RETRY_DELAY = 0.25


class NatsTenantRepository:
    """A TenantRepository for many nodes. Each follows the order in which NATS JetStream has stored all claims.

    While it is `running` it keeps up with the stream by itself. While NATS is away, or this node's lease is in doubt,
    what `get` shows stays as it was and nothing new is committed. When NATS is back, with its store or without, the
    claims of the peers that are connected here are put back, and those of the ones that have gone are taken out.
    """

    def __init__(
        self,
        network: Network,
        max_peers_per_tenant: int,
        connection: ConnectionOptions,
        stream: StreamOptions,
        telemetry: Telemetry,
        timings: Timings = Timings(),  # noqa: B008 - it is frozen
    ) -> None:
        self._process = token_hex(8)
        self._stays = 0
        self._tenants = Tenants(network, max_peers_per_tenant)
        self._ledger = Ledger(self._tenants, self._process)
        self._position = Position()
        self._connection = Connection(connection)
        self._stream = Stream(self._connection, stream)
        self._claims = Claims(self._stream, self._ledger, self._position, timings)
        self._lease = NodeLease(self._stream, self._ledger, timings)
        self._upkeep = Upkeep(self._ledger, self._claims, self._lease, timings.tidy)
        self._reader = ClaimReader(network)
        self._telemetry = StoreTelemetry(telemetry)
        # None until it has caught up.
        self._feed: Feed | None = None

    def get(self, tenant_id: TenantId) -> Tenant:
        return self._tenants.get(tenant_id)

    def count(self) -> int:
        return self._tenants.count()

    def next_stay_id(self) -> StayId:
        self._stays += 1
        return StayId(f"{self._process}-{self._stays}")

    def follow(self, follower: Callable[[Committed], None]) -> None:
        self._tenants.follow(follower)

    async def commit(self, event: MembershipEvent) -> Committed:
        self._tenants.await_event(event.stay.id)
        try:
            match event:
                case PeerJoined():
                    await self._join(event)
                case PeerLeft():
                    await self._leave(event)
                case events.PeerUpdated() | events.PeerResumed():
                    raise Unavailable("the stream has no room for sessions yet")
                case _:
                    assert_never(event)
        finally:
            committed = self._tenants.take_event(event.stay.id)
        if committed is None or committed.event != event:
            raise Conflict("another event of that stay came first")
        return committed

    def is_ready(self) -> bool:
        """Whether joins can be committed: caught up with the feed, with a lease, connected, and nobody who may yet be
        put back after the store was lost.
        """
        has_caught_up = self._feed is not None and self._feed.is_sound()
        return has_caught_up and self._ledger.is_open() and self._lease.node is not None

    @asynccontextmanager
    async def running(self, time_left: Callable[[], float] = lambda: FAREWELL_TIME) -> AsyncIterator[None]:
        """Keep up with the stream inside the block. At the end give up the node's lease, and with it all its claims.

        That takes no longer than the seconds that are left then, give or take a moment, whether or not NATS answers.
        """
        lease = Background(partial(self._lease.keep, lambda: self._feed is not None))
        running = Background(self._run)
        try:
            yield
        finally:
            with anyio.move_on_after(max(LEAST_FAREWELL_TIME, time_left()), shield=True):
                await lease.end()
                try:
                    await self._lease.give_up()
                except (NotHeard, StoreUnusable) as error:
                    logger.warning("lease not given up", error=str(error))
            await running.end(CLOSING_TIME)
            with anyio.move_on_after(CLOSING_TIME, shield=True):
                await self._connection.close()

    # Commits

    async def _join(self, event: PeerJoined) -> None:
        node = self._lease.node
        if node is None or not self.is_ready():
            raise Unavailable("NATS is away")
        self._tenants.expect(event)
        claim = Claim(event.stay.tenant_id, event.stay.peer, node, event.stay.id, 0)
        self._ledger.want(claim.session)
        joined = False
        try:
            await self._claims.enrol(claim)
            joined = self._ledger.holds(claim)
        except (StoreUnusable, TimeoutError) as error:
            raise Unavailable("NATS is away") from error
        finally:
            self._tenants.forgo(event)
            if not joined:
                self._ledger.disown(claim)
        if not joined:
            raise Conflict(f"{event.stay.peer.virtual_ip} was claimed and lost at once")

    async def _leave(self, event: PeerLeft) -> None:
        stay = event.stay
        claim = self._ledger.holder((stay.tenant_id, stay.peer.virtual_ip))
        if claim is None or claim.session != stay.id:
            raise Conflict(f"{stay.peer.virtual_ip} is not held in {stay.tenant_id} by that stay")
        self._ledger.unwant(claim)
        try:
            if claim.node:
                await self._claims.vacate(claim, event.cause)
        except (StoreUnusable, TimeoutError) as error:
            raise Unavailable("NATS is away") from error
        finally:
            self._ledger.disown(claim, event.cause)

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
        epoch = await self._stream.ensure()
        subjects = self._stream.subjects_of(epoch)
        snapshot, gathered = Snapshot(), Position()
        target: Snapshot | Ledger = snapshot
        position = gathered

        def see(subject: str, sequence: int, payload: bytes) -> None:
            try:
                self._see(target, subjects, subject, sequence, payload)
            except Unreadable as error:
                self._telemetry.unreadable(subject, sequence, str(error))
            position.reach(sequence)

        feed = Feed(self._connection, self._stream, see)

        async def tend() -> None:
            nonlocal target, position
            since = gathered.now
            await gathered.wait(await self._stream.mark(subjects, self._process), since)
            own_lease_was_lost = await self._lease.complete(subjects, snapshot)
            if snapshot.epoch is None:
                raise FeedBroken("the store has begun anew")
            is_new = self._ledger.epoch is None or self._ledger.epoch.name != epoch.name
            if not is_new and (own_lease_was_lost or gathered.sequence < self._position.sequence):
                await self._stream.begin(snapshot.epoch.sequence)
                raise FeedBroken("the store has lost messages")
            # No `await` from here on: the stream's subjects, the lease and the ledger change to the epoch together.
            if is_new:
                logger.info("in a new epoch of the store", epoch=epoch.name)
                self._stream.subjects = subjects
                self._lease.begin_anew()
                self._position.begin(gathered.sequence)
            else:
                self._position.reach(gathered.sequence)
            self._ledger.reconcile(snapshot, store_was_lost=is_new, sequence=gathered.sequence)
            target, position = self._ledger, self._position
            self._feed = feed
            await until_one_fails(self._lease.watch, self._upkeep.keep)

        async with feed.opened(subjects):
            await until_one_fails(feed.run, tend)

    def _see(self, target: Snapshot | Ledger, subjects: Subjects, subject: str, sequence: int, payload: bytes) -> None:
        if subject == subjects.which_epoch:
            epoch = read_epoch(sequence, payload)
            if epoch is None:
                raise Unreadable("no epoch")
            if epoch.name != subjects.epoch:
                raise FeedBroken("the store has begun anew")
            target.see_epoch(epoch)
            return
        kind, *tokens = subjects.split(subject)
        if kind == "peer" and len(tokens) == 2:
            target.see_claim(self._reader.read(tokens[0], tokens[1], payload, sequence))
        elif kind == "node" and len(tokens) == 1:
            target.see_lease(parse_node(tokens[0]), parse_lease(sequence, payload), sequence)
        elif kind != "sync" or len(tokens) != 1:
            raise Unreadable("no such subject")
