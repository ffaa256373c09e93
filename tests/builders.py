"""Valid things, named by a number, for tests that need some and don't care which."""

from collections.abc import Coroutine
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

from harness.keys import a_key_text
from wg_orchestrator.domain.events import Committed, LeaveCause, MembershipEvent, PeerJoined, PeerLeft
from wg_orchestrator.domain.ip_allocator import IPAllocator
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.peer import DisplayName, Peer, PublicKey
from wg_orchestrator.domain.ports import TenantRepository
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId

Result = TypeVar("Result")

ACME = TenantId("acme")
GLOBEX = TenantId("globex")


def a_key(number: int) -> PublicKey:
    return PublicKey.parse(a_key_text(number))


def a_name(number: int) -> DisplayName:
    return DisplayName(f"peer-{number}")


def a_newcomer(number: int) -> Newcomer:
    return Newcomer(a_name(number), a_key(number))


def a_peer(number: int, address: str | None = None) -> Peer:
    return Peer(a_name(number), a_key(number), ip_address(address or f"100.64.0.{number}"))


def a_stay(peer: Peer, tenant_id: TenantId = ACME, number: int = 1) -> Stay:
    """The peer's stay of that number in the tenant."""
    return Stay(StayId(f"{peer.public_key}-{number}"), tenant_id, peer)


def a_stay_in(repository: TenantRepository, peer: Peer, tenant_id: TenantId = ACME) -> Stay:
    """One with an id of the repository's, as the service makes them."""
    return Stay(repository.next_stay_id(), tenant_id, peer)


def joined(peer: Peer, tenant_id: TenantId = ACME, number: int = 1) -> PeerJoined:
    return PeerJoined(a_stay(peer, tenant_id, number))


def left(peer: Peer, tenant_id: TenantId = ACME, number: int = 1, cause: LeaveCause = LeaveCause.LEFT) -> PeerLeft:
    return PeerLeft(a_stay(peer, tenant_id, number), cause)


def apply(tenant: Tenant, event: MembershipEvent) -> Committed:
    """Apply an event, with the next revision, as a repository does that has committed it."""
    committed = Committed(event, tenant.revision + 1)
    tenant.apply(committed)
    return committed


def peers_of(tenant: Tenant) -> list[Peer]:
    return [stay.peer for stay in tenant.stays]


def a_tenant(network: str = "100.64.0.0/10", max_peers: int = 100, tenant_id: TenantId = ACME) -> Tenant:
    return Tenant(tenant_id, IPAllocator(ip_network(network)), max_peers)


def at_once(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never waits: no event loop is needed to run it."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    coroutine.close()
    raise AssertionError("the coroutine waits for something")
