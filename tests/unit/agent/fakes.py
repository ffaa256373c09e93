"""A machine and a service in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from tests.unit.agent.builders import here
from wg_orchestrator.agent.errors import EnvironmentFault, InterfaceLost
from wg_orchestrator.agent.paths import Here
from wg_orchestrator.agent.plan import Change, RemoveTunnel, SetAddress, SetRoute, SetTunnel
from wg_orchestrator.agent.tunnel import Actual, Observed
from wg_orchestrator.client.member import Event, Lost
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.domain.endpoint import Endpoint, IPAddress
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import PublicKey, VirtualIP


class Kernel:
    """What outlives an agent: at most one interface."""

    def __init__(self) -> None:
        self.actual: Actual | None = None


class FakeInterface:
    """The port `Interface`."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.applied: list[Change] = []
        self.fault: EnvironmentFault | None = None
        """What `open` and `apply` raise, if anything."""

    async def open(self, private_key: str, listen_port: int, mtu: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.kernel.actual = self.kernel.actual or Actual()

    async def read(self) -> Actual:
        if self.kernel.actual is None:
            raise InterfaceLost("it is gone")
        return self.kernel.actual

    async def apply(self, changes: Sequence[Change]) -> None:
        actual = await self.read()
        if self.fault is not None:
            raise self.fault
        self.applied += changes
        tunnels = dict(actual.tunnels)
        for change in changes:
            match change:
                case SetAddress(address):
                    actual = replace(actual, addresses=frozenset({address}))
                case SetRoute(network):
                    actual = replace(actual, routes=frozenset({network}))
                case RemoveTunnel(key):
                    tunnels.pop(key, None)
                case SetTunnel():
                    _set(tunnels, change)
        self.kernel.actual = replace(actual, tunnels=tunnels)

    async def close(self) -> None:
        self.kernel.actual = None


def _set(tunnels: dict[PublicKey, Observed], change: SetTunnel) -> None:
    key = change.public_key
    if change.is_new or change.begins_anew:
        before = Observed(key, frozenset())
    elif key in tunnels:
        before = tunnels[key]
    else:
        return
    if change.allowed_ips is not None:
        for other, tunnel in tunnels.items():
            tunnels[other] = replace(tunnel, allowed_ips=tunnel.allowed_ips - change.allowed_ips)
        before = replace(before, allowed_ips=change.allowed_ips)
    keepalive = before.keepalive if change.keepalive is None else change.keepalive
    tunnels[key] = replace(before, endpoint=change.endpoint or before.endpoint, keepalive=keepalive)


class FakeMachine:
    """The port `Machine`."""

    def __init__(self) -> None:
        self.is_at = here("10.1.0.2/24")
        self.overlaps: str | None = None
        self.events: asyncio.Queue[None] = asyncio.Queue()

    async def here(self) -> Here:
        return self.is_at

    async def overlap(self, network: Network) -> str | None:
        return self.overlaps

    async def changes(self) -> AsyncIterator[None]:
        while True:
            await self.events.get()
            yield


class FakeLink:
    """The port `Link`: it says what it is told to say."""

    def __init__(self, session: str = "") -> None:
        self.picture = Picture(session=session)
        self.local_address: IPAddress | None = ip_address("10.1.0.2")
        self.remote_address: IPAddress | None = ip_address("10.1.0.1")
        self.announced: list[tuple[Endpoint, ...]] = []
        self.reported: asyncio.Queue[int] = asyncio.Queue()
        self.paths: dict[VirtualIP, PathKind] = {}
        """How the others are reached, as far as it was reported."""
        self.ended: list[str] = []
        self.reconnects = 0
        self._events: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

    def says(self, event: Event | Exception) -> None:
        self._events.put_nowait(event)

    async def follow(self) -> AsyncGenerator[Event, None]:
        while (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            if not isinstance(event, Lost):
                self.picture.apply(event)
            yield event

    async def update(self, display_name: str | None = None, endpoints: Iterable[Endpoint] | None = None) -> None:
        self.announced.append(tuple(endpoints or ()))

    async def applied(self, revision: int, paths: Mapping[VirtualIP, PathKind] | None = None) -> None:
        self.reported.put_nowait(revision)
        self.paths.update(paths or {})

    async def leave(self) -> None:
        self.ended.append("left")
        self._events.put_nowait(None)

    def vanish(self) -> None:
        self.ended.append("vanished")
        self._events.put_nowait(None)

    def reconnect(self) -> None:
        self.reconnects += 1
