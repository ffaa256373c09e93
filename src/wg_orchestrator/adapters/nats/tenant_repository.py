from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from secrets import token_hex

import anyio
import structlog

from wg_orchestrator.adapters.nats.background import Background
from wg_orchestrator.adapters.nats.claim import ClaimReader
from wg_orchestrator.adapters.nats.claims import Claims
from wg_orchestrator.adapters.nats.commits import Commits
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.epoch import read_epoch
from wg_orchestrator.adapters.nats.feed import Feed, FeedBroken, Position
from wg_orchestrator.adapters.nats.lease import NodeLease, parse_lease
from wg_orchestrator.adapters.nats.ledger import Ledger
from wg_orchestrator.adapters.nats.names import Unreadable, parse_node
from wg_orchestrator.adapters.nats.snapshot import Snapshot
from wg_orchestrator.adapters.nats.stream import StoreUnusable, Stream
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.adapters.nats.subjects import Subjects
from wg_orchestrator.adapters.nats.telemetry import StoreTelemetry
from wg_orchestrator.adapters.nats.tenants import Tenants
from wg_orchestrator.adapters.nats.timings import USUAL, Timings
from wg_orchestrator.adapters.nats.together import until_one_fails
from wg_orchestrator.adapters.nats.upkeep import Upkeep
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import Committed, MembershipEvent
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry

logger = structlog.get_logger("wg_orchestrator.nats")

LEAST_FAREWELL_TIME = 0.5
CLOSING_TIME = 0.25


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
        timings: Timings = USUAL,
        grace: float = 0.0,
    ) -> None:
        """`grace`: seconds for which a peer with a session may come back after the end of its node."""
        self._timings = timings
        self._process = token_hex(8)
        self._stays = 0
        self._tenants = Tenants(network, max_peers_per_tenant)
        self._ledger = Ledger(self._tenants, self._process)
        self._position = Position()
        self._connection = Connection(connection, timings)
        self._stream = Stream(self._connection, stream, timings)
        self._claims = Claims(self._stream, self._ledger, self._position, timings)
        self._lease = NodeLease(self._stream, self._ledger, timings, grace)
        self._upkeep = Upkeep(self._ledger, self._claims, self._lease, timings, grace)
        self._reader = ClaimReader(network)
        self._telemetry = StoreTelemetry(telemetry)
        self._commits = Commits(self._tenants, self._ledger, self._claims, self._ready_node)
        # None until it has caught up.
        self._feed: Feed | None = None

    def get(self, tenant_id: TenantId) -> Tenant:
        return self._tenants.get(tenant_id)

    @property
    def era(self) -> str:
        epoch = self._ledger.epoch
        return "none" if epoch is None else epoch.name

    @property
    def process(self) -> str:
        """The name of this process, with which the ids of the stays begin that begin here."""
        return self._process

    def all(self) -> list[Tenant]:
        return self._tenants.all()

    def count(self) -> int:
        return self._tenants.count()

    def next_stay_id(self) -> StayId:
        self._stays += 1
        return StayId(f"{self._process}-{self._stays}")

    def follow(self, follower: Callable[[Committed], None]) -> None:
        self._tenants.follow(follower)

    async def commit(self, event: MembershipEvent) -> Committed:
        return await self._commits.commit(event)

    def is_ready(self) -> bool:
        """Whether joins can be committed: caught up with the feed, with a lease, connected, and nobody who may yet be
        put back after the store was lost.
        """
        has_caught_up = self._feed is not None and self._feed.is_sound()
        return has_caught_up and self._ledger.is_open() and self._lease.node is not None

    @asynccontextmanager
    async def running(self, time_left: Callable[[], float] | None = None) -> AsyncIterator[None]:
        """Keep up with the stream inside the block. At the end give up the node's lease, and with it all its claims.

        That takes no longer than the seconds that are left then, give or take a moment, whether or not NATS answers.
        """
        lease = Background(partial(self._lease.keep, lambda: self._feed is not None))
        running = Background(self._run)
        try:
            yield
        finally:
            left = self._timings.farewell if time_left is None else time_left()
            with anyio.move_on_after(max(LEAST_FAREWELL_TIME, left), shield=True):
                await lease.end()
                try:
                    await self._lease.give_up()
                except (NotHeard, StoreUnusable) as error:
                    logger.warning("lease not given up", error=str(error))
            await running.end(CLOSING_TIME)
            with anyio.move_on_after(CLOSING_TIME, shield=True):
                await self._connection.close()

    # Keeping up

    def _ready_node(self) -> str:
        """The node under its present lease. Raises Unavailable."""
        node = self._lease.node
        if node is None or not self.is_ready():
            raise Unavailable("NATS is away")
        return node

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
            await anyio.sleep(self._timings.reconnect)

    async def _follow(self) -> None:
        """Follow one feed until it breaks."""
        epoch = await self._stream.ensure(self._next_base())
        subjects = self._stream.subjects_of(epoch)
        snapshot, gathered = Snapshot(), Position()
        target: Snapshot | Ledger = snapshot
        position = gathered

        def see(subject: str, sequence: int, payload: bytes, at: float, is_last: bool) -> None:
            snapshot.time = max(snapshot.time, at)
            try:
                self._see(target, subjects, subject, sequence, payload)
            except Unreadable as error:
                self._telemetry.unreadable(subject, sequence, str(error))
            position.reach(sequence, is_at_end=is_last)

        feed = Feed(self._connection, self._stream, see, self._timings)

        async def tend() -> None:
            nonlocal target, position
            since = gathered.now
            await gathered.wait(await self._stream.mark(subjects, self._process), since)
            own_lease_was_lost = await self._lease.complete(subjects, snapshot)
            if snapshot.epoch is None:
                raise FeedBroken("the store has begun anew")
            is_new = self._ledger.epoch is None or self._ledger.epoch.name != epoch.name
            if not is_new and (own_lease_was_lost or gathered.sequence < self._position.sequence):
                await self._stream.begin(snapshot.epoch.sequence, self._next_base())
                raise FeedBroken("the store has lost messages")
            with anyio.move_on_after(self._timings.gathering):
                await gathered.end()
            # No `await` from here on: the snapshot is the stream as it is at this moment, and the subjects, the lease
            # and the ledger change to the epoch together.
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

    def _next_base(self) -> int:
        """The base of an epoch that would begin now."""
        epoch = self._ledger.epoch
        return 0 if epoch is None else epoch.base_after(self._position.sequence)

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
