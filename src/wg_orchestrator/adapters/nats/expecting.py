import heapq

from wg_orchestrator.domain.errors import Conflict, NoAddressLeft, PeerLimitReached
from wg_orchestrator.domain.events import Committed, PeerJoined, PeerLeft, PeerResumed, PeerUpdated, assert_never
from wg_orchestrator.domain.ip_allocator import IPAllocator, Network
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.peer import PublicKey, VirtualIP
from wg_orchestrator.domain.session import NO_SESSION, SessionDigest
from wg_orchestrator.domain.stay import StayId
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId


class ExpectingTenant(Tenant):
    """A tenant that keeps places for newcomers whose event is on its way to the store.

    A join takes as long as the store takes to answer. Who asks meanwhile would be offered the same address, and all but
    one of them would have to be turned down and to ask again.
    """

    __slots__ = ("_allocator", "_expected", "_max")

    def __init__(self, tenant_id: TenantId, network: Network, max_peers: int) -> None:
        self._expected: dict[VirtualIP, PeerJoined] = {}
        self._max = max_peers
        self._allocator = _Allocator(network, self._expected)
        super().__init__(tenant_id, self._allocator, max_peers)

    @property
    def is_empty(self) -> bool:
        return not self._expected and super().is_empty

    @property
    def expects(self) -> bool:
        """Whether a newcomer is expected."""
        return bool(self._expected)

    def admit(self, stay_id: StayId, newcomer: Newcomer, session: SessionDigest = NO_SESSION) -> PeerJoined:
        if len(self.stays) + len(self._expected) >= self._max:
            raise PeerLimitReached(f"{self.id} holds or expects {self._max} peers")
        return super().admit(stay_id, newcomer, session)

    def expect(self, event: PeerJoined) -> None:
        """Offer the newcomer's address to nobody else until its event is applied or forgone.

        Raises Conflict if somebody is expected there already.
        """
        if event.stay.peer.virtual_ip in self._expected:
            raise Conflict(f"{event.stay.peer.virtual_ip} is on its way to somebody else")
        self._expected[event.stay.peer.virtual_ip] = event

    def forgo(self, event: PeerJoined) -> None:
        """Stop expecting this event. Does nothing if it was applied, or another event for its address."""
        if self._expected.get(event.stay.peer.virtual_ip) is event:
            del self._expected[event.stay.peer.virtual_ip]
            self._allocator.offer_again(event.stay.peer.virtual_ip)

    def apply(self, committed: Committed) -> None:
        super().apply(committed)
        match event := committed.event:
            case PeerJoined():
                self._expected.pop(event.stay.peer.virtual_ip, None)
            case PeerLeft() | PeerUpdated() | PeerResumed():
                pass
            case _:
                assert_never(event)


class _Allocator(IPAllocator):
    """Skips the addresses that expected newcomers have. O(1) while there are addresses that were never used."""

    __slots__ = ("_forgone", "_fresh", "_spoken_for")

    def __init__(self, network: Network, spoken_for: dict[VirtualIP, PeerJoined]) -> None:
        super().__init__(network)
        self._spoken_for = spoken_for
        # Each address below `_fresh` was used, is spoken for, or is in the heap of those that were forgone.
        self._fresh = self._first
        self._forgone: list[int] = []

    def next_for(self, key: PublicKey, wish: VirtualIP | None = None) -> VirtualIP:
        if wish is not None and self.is_free(wish) and wish not in self._spoken_for:
            return wish
        last_held = self._last_held.get(key)
        if last_held is not None and (address := self._to_address(last_held)) not in self._spoken_for:
            return address
        while self._forgone:
            address = self._to_address(self._forgone[0])
            if self._is_unused(self._forgone[0]) and address not in self._spoken_for:
                return address
            heapq.heappop(self._forgone)
        self._fresh = max(self._fresh, self._next)
        while self._fresh <= self._last:
            address = self._to_address(self._fresh)
            if self._is_unused(self._fresh) and address not in self._spoken_for:
                return address
            self._fresh += 1
        for address in self.candidates(key):
            if address not in self._spoken_for:
                return address
        raise NoAddressLeft("every address is held or on its way to somebody")

    def offer_again(self, virtual_ip: VirtualIP) -> None:
        """The address is free again: its newcomer is not expected any more."""
        if self._is_unused(int(virtual_ip)):
            heapq.heappush(self._forgone, int(virtual_ip))

    def _is_unused(self, address: int) -> bool:
        return address >= self._next and address not in self._beyond
