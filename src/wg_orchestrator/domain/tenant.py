from collections.abc import Collection

from wg_orchestrator.domain.errors import Conflict, KeyInUse, PeerLimitReached
from wg_orchestrator.domain.events import Committed, LeaveCause, PeerJoined, PeerLeft, assert_never
from wg_orchestrator.domain.ip_allocator import IPAllocator
from wg_orchestrator.domain.peer import DisplayName, Peer, PublicKey
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId


class Tenant:
    """Who is in one tenant.

    Deciding and changing are two steps: `admit` and `release` return what should happen and change nothing;
    `apply` makes it so. Between the two lies the repository, which may let somebody else's event come first.
    """

    __slots__ = ("_addresses", "_max_peers", "_stays", "id", "revision")

    def __init__(self, tenant_id: TenantId, addresses: IPAllocator, max_peers: int) -> None:
        self.id = tenant_id
        self.revision = 0
        """That of the last event that was applied; 0 if there was none."""
        self._addresses = addresses
        self._max_peers = max_peers
        self._stays: dict[PublicKey, Stay] = {}

    @property
    def stays(self) -> Collection[Stay]:
        """Of everyone in the tenant, in the order they came: a live view, copy it to keep it."""
        return self._stays.values()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in it, or on the way into it: the next one to be admitted would make it one tenant more."""
        return not self._stays

    def __contains__(self, stay: Stay) -> bool:
        held = self._stays.get(stay.peer.public_key)
        return held is not None and held.id == stay.id

    def admit(self, stay_id: StayId, display_name: DisplayName, public_key: PublicKey) -> PeerJoined:
        """Decide on a newcomer and its address. Raises KeyInUse, PeerLimitReached or NoAddressLeft."""
        if public_key in self._stays:
            raise KeyInUse(f"{public_key} is live in {self.id}")
        if len(self._stays) >= self._max_peers:
            raise PeerLimitReached(f"{self.id} holds {self._max_peers} peers")
        peer = Peer(display_name, public_key, self._addresses.next_for(public_key))
        return PeerJoined(Stay(stay_id, self.id, peer))

    def release(self, stay: Stay, cause: LeaveCause) -> PeerLeft:
        """Decide that a stay is to end. Raises Conflict if it has ended."""
        self._check_is_in(stay)
        return PeerLeft(stay, cause)

    def apply(self, committed: Committed) -> None:
        """Change the membership as the event says. Raises Conflict, and changes nothing, if it contradicts it."""
        event = committed.event
        match event:
            case PeerJoined():
                self._join(event.stay)
            case PeerLeft():
                self._leave(event.stay)
            case _:
                assert_never(event)
        self.revision = committed.revision

    def _join(self, stay: Stay) -> None:
        peer = stay.peer
        if peer.public_key in self._stays:
            raise Conflict(f"{peer.public_key} is live in {self.id}")
        self._addresses.take(peer.virtual_ip)
        self._stays[peer.public_key] = stay

    def _leave(self, stay: Stay) -> None:
        self._check_is_in(stay)
        del self._stays[stay.peer.public_key]
        self._addresses.release(stay.peer.virtual_ip, stay.peer.public_key)

    def _check_is_in(self, stay: Stay) -> None:
        if stay not in self:
            raise Conflict(f"{stay.peer.virtual_ip} is not held in {self.id} by that stay")
