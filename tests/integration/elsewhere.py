"""Peers of another node: their events come by the feed, however many at once."""

from tests.builders import ACME, a_key, at_once
from tests.integration.service import Service
from wg_orchestrator.domain.peer import DisplayName, Peer

_NAME = DisplayName("🦊" * 128)
_FIRST = 10_000


def join(service: Service, count: int, first: int = _FIRST) -> list[Peer]:
    """So many large joins, with no turn of the event loop in between: as after a gap in the feed."""
    tenants, peers = service.container.tenants(), []
    for number in range(first, first + count):
        event = tenants.get(ACME).admit(_NAME, a_key(number))
        at_once(tenants.commit(event))
        peers.append(event.peer)
    return peers


def leave(service: Service, peers: list[Peer]) -> None:
    tenants = service.container.tenants()
    for peer in peers:
        at_once(tenants.commit(tenants.get(ACME).release(peer)))


def come_and_go(service: Service, times: int) -> None:
    """So many large joins, and each time the leave."""
    for _ in range(times):
        leave(service, join(service, 1))
