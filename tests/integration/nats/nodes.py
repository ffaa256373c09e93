"""Nodes on a NATS server, in this process or in one of their own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from itertools import count

import anyio
from dependency_injector import providers

from harness.nats_server import PATIENCE, NatsServer
from tests.builders import ACME, a_newcomer, peers_of
from tests.fakes import RecordingNotifier, Subscriber
from wg_orchestrator.adapters.nats.connection import ConnectionOptions
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository
from wg_orchestrator.adapters.nats.timings import Timings
from wg_orchestrator.container import Container
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.telemetry.telemetry import Telemetry

NETWORK = IPv4Network("100.64.0.0/10")
_streams = count(1)

QUICK = Timings(opening=0.0)
"""A node need not wait for former peers to come back: each test has a new stream of its own."""


def quickly(container: Container) -> None:
    """Give a service in this process the timings QUICK."""
    container.nats_timings.override(providers.Object(QUICK))


def a_stream() -> str:
    return f"test-{next(_streams)}"


async def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds. It is polled, because another process makes it true without a signal."""
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.005)


class Node:
    """A membership service over NATS, with peers that note what they are told."""

    def __init__(
        self,
        server: NatsServer,
        stream: str,
        max_peers: int = 1000,
        max_tenants: int = 100,
        network: IPv4Network = NETWORK,
        replicas: int = 1,
        timings: Timings = QUICK,
    ) -> None:
        self.telemetry = Telemetry(100)
        self.tenants = NatsTenantRepository(
            network,
            max_peers,
            ConnectionOptions((server.url,)),
            StreamOptions(stream, str(network), replicas),
            self.telemetry,
            timings,
        )
        self.notifier = RecordingNotifier()
        self._stays: dict[tuple[TenantId, Peer], Stay] = {}
        self.membership = MembershipService(self.tenants, self.notifier, max_tenants)

    async def join(self, number: int, tenant_id: TenantId = ACME) -> tuple[Peer, Subscriber]:
        subscriber = Subscriber()
        stay = await self.membership.join(tenant_id, a_newcomer(number), subscriber)
        self._stays[tenant_id, stay.peer] = stay
        return stay.peer, subscriber

    async def leave(self, peer: Peer, tenant_id: TenantId = ACME) -> None:
        """End the last stay that the peer has had on this node."""
        await self.membership.leave(self._stays[tenant_id, peer])

    def peers(self, tenant_id: TenantId = ACME) -> set[Peer]:
        return set(peers_of(self.tenants.get(tenant_id)))


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """Run the nodes. Inside, all of them are ready."""
    first, *others = nodes
    async with first.tenants.running():
        await until(first.tenants.is_ready)
        if others:
            async with running(*others):
                yield
        else:
            yield
