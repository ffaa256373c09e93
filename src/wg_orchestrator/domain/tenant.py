from collections.abc import Collection

from wg_orchestrator.domain.errors import Conflict, KeyInUse, PeerLimitReached
from wg_orchestrator.domain.events import MembershipEvent, PeerJoined, PeerLeft
from wg_orchestrator.domain.ip_allocator import IPAllocator
from wg_orchestrator.domain.peer import DisplayName, Peer, PublicKey
from wg_orchestrator.domain.tenant_id import TenantId


class Tenant:
    """Who is in one tenant.

    Deciding and changing are two steps: `admit` and `release` return what should happen and change nothing;
    `apply` makes it so. Between the two lies the repository, which may let somebody else's event come first.
    """

    __slots__ = ("_addresses", "_max_peers", "_peers", "id")

    def __init__(self, tenant_id: TenantId, addresses: IPAllocator, max_peers: int) -> None:
        self.id = tenant_id
        self._addresses = addresses
        self._max_peers = max_peers
        self._peers: dict[PublicKey, Peer] = {}

    @property
    def peers(self) -> Collection[Peer]:
        """Everyone in the tenant, in the order they came: a live view, copy it to keep it."""
        return self._peers.values()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in it, or on the way into it: the next one to be admitted would make it one tenant more."""
        return not self._peers

    def __contains__(self, peer: Peer) -> bool:
        return self._peers.get(peer.public_key) == peer

    def admit(self, display_name: DisplayName, public_key: PublicKey) -> PeerJoined:
        """Decide on a newcomer and its address. Raises KeyInUse, PeerLimitReached or NoAddressLeft."""
        if public_key in self._peers:
            raise KeyInUse(f"{public_key} is live in {self.id}")
        if len(self._peers) >= self._max_peers:
            raise PeerLimitReached(f"{self.id} holds {self._max_peers} peers")
        return PeerJoined(self.id, Peer(display_name, public_key, self._addresses.next_for(public_key)))

    def release(self, peer: Peer) -> PeerLeft:
        """Decide that `peer` is to leave. Raises Conflict if it is not in the tenant."""
        if peer not in self:
            raise Conflict(f"{peer.virtual_ip} is not held by that peer in {self.id}")
        return PeerLeft(self.id, peer)

    def apply(self, event: MembershipEvent) -> None:
        """Change the membership as `event` says. Raises Conflict, and changes nothing, if it contradicts it."""
        peer = event.peer
        if isinstance(event, PeerJoined):
            if peer.public_key in self._peers:
                raise Conflict(f"{peer.public_key} is live in {self.id}")
            self._addresses.take(peer.virtual_ip)
            self._peers[peer.public_key] = peer
        else:
            if peer not in self:
                raise Conflict(f"{peer.virtual_ip} is not held by that peer in {self.id}")
            del self._peers[peer.public_key]
            self._addresses.release(peer.virtual_ip, peer.public_key)
