"""Whatever call fails in the service, no peer that is gone keeps its place, and no peer keeps a wrong picture."""

import anyio
import pytest
from structlog.testing import capture_logs
from websockets.frames import Opcode

from tests.faults import Faults, Place
from tests.integration.actor import Actor, until
from tests.integration.service import PATIENCE, RawClient, Service, join_message, running
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository
from wg_orchestrator.adapters.websocket.channel import Channel
from wg_orchestrator.adapters.websocket.flush import Flush
from wg_orchestrator.adapters.websocket.notifier import WebSocketPeerNotifier
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.membership import MembershipService
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.rfc6455.message import Notices
from wg_orchestrator.server.websocket_protocol import WebSocketProtocol
from wg_orchestrator.wire import v1

PLACES: list[Place] = [
    (MembershipService, "leave"),
    (MembershipService, "size"),
    (InMemoryTenantRepository, "get"),
    (InMemoryTenantRepository, "commit"),
    (Tenant, "admit"),
    (Tenant, "release"),
    (WebSocketPeerNotifier, "welcome"),
    (Channel, "welcome"),
    (Channel, "announce"),
    (Channel, "write"),
    (Flush, "write"),
    (v1, "welcome"),
    (v1, "peer_entry"),
    (v1, "peer_removal"),
    (Notices, "__init__"),
    (WebSocketProtocol, "welcome"),
    (WebSocketProtocol, "send"),
    (WebSocketProtocol, "run"),
    (WebSocketProtocol, "refuse"),
    (PeerTelemetry, "joined"),
    (PeerTelemetry, "welcomed"),
    (PeerTelemetry, "flushed"),
    (PeerTelemetry, "left"),
    (PeerTelemetry, "refused"),
]


_LET_GO = {(1011, "internal error"), (1013, "try again later")}
"""How the service closes a peer that it can't keep."""


async def _join(service: Service, tenant: str, number: int) -> Actor:
    """Join. Try again while a fault refuses it, or the key's last connection is just ending. It times out if the
    service never gives up the key's place.
    """
    with anyio.fail_after(PATIENCE):
        while True:
            raw = await RawClient.open(service, tenant)
            raw.send(Opcode.TEXT, join_message(number).encode())
            actor = Actor(raw, number)
            if await actor.answered():
                return actor
            assert actor.closed in ((1011, "internal error"), (4004, "key in use"))


async def _agree(service: Service, tenant: str, actors: list[Actor], faults: Faults) -> None:
    """Wait until exactly the actors whose connections live are in, and all of these have that picture."""

    def agreed() -> bool:
        with faults.held():
            truth = service.roster(tenant)
        alive = [actor for actor in actors if actor.closed is None]
        return sorted(truth.values()) == sorted(actor.key for actor in alive) and all(
            actor.picture() == truth for actor in alive
        )

    await until(agreed)
    assert {actor.closed for actor in actors} <= {None, *_LET_GO}


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
async def test_a_fault_at_any_call_costs_nobody_a_place_and_leaves_no_wrong_picture(
    after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One peer leaves, one is refused, one joins, two watch. This is repeated: first the first call fails, then the
    second, and so on.
    """
    faults = Faults(monkeypatch, PLACES, after=after)
    struck: set[str] = set()
    every = {f"{owner.__name__}.{name}" for owner, name in PLACES}
    with capture_logs():
        for _ in range(3):  # Which call is the nth one differs from time to time, so that one may be passed over.
            await _strike_each_call(faults, struck)
            if struck == every:
                break
    assert struck == every


async def _strike_each_call(faults: Faults, struck: set[str]) -> None:
    async with running(
        adapt=lambda container: container.sessions.add_kwargs(retry_delay=0.001),
        max_handshake_rate=0,
        close_timeout=0.05,
    ) as service:
        for nth in range(200):
            tenant = f"tenant-{nth}"
            first, second, leaver = [await _join(service, tenant, number) for number in (1, 2, 3)]
            await _agree(service, tenant, [first, second, leaver], faults)
            faults.arm(nth)
            leaver.raw.send(Opcode.CLOSE, b"")
            await until(lambda leaver=leaver: leaver.closed is not None)  # type: ignore[misc]
            visitor = await RawClient.open(service, tenant)
            visitor.send(Opcode.TEXT, b"[]")
            assert await visitor.read_close() in ((4501, "malformed join"), (1011, "internal error"))
            newcomer = await _join(service, tenant, 4)
            await _agree(service, tenant, [first, second, newcomer], faults)
            faults.disarm()
            again = [await _join(service, tenant, actor.number) for actor in (first, second, newcomer) if actor.closed]
            actors = [first, second, newcomer, await _join(service, tenant, 3), *again]
            await _agree(service, tenant, actors, faults)
            for actor in (leaver, *actors):
                await actor.finished()
            if not faults.struck:
                break
            struck.add(faults.struck)
