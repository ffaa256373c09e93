from collections.abc import Collection
from dataclasses import replace

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import Conflict, KeyInUse, PeerLimitReached
from wg_orchestrator.domain.events import (
    Committed,
    LeaveCause,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerUpdated,
    assert_never,
)
from wg_orchestrator.domain.ip_allocator import IPAllocator
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.peer import DisplayName, Peer, PublicKey
from wg_orchestrator.domain.session import NO_SESSION, SessionDigest, opens
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId


class Tenant:
    """Who is in one tenant.

    Deciding and changing are two steps. `admit`, `release`, `update` and `resume` return an event and change nothing.
    `apply` changes the tenant as an event says. Between the two steps is the repository, which may let another event
    come first.
    """

    __slots__ = ("_addresses", "_max_peers", "_stays", "id", "revision")

    def __init__(self, tenant_id: TenantId, addresses: IPAllocator, max_peers: int) -> None:
        self.id = tenant_id
        self.revision = 0
        """The revision of the last event that was applied; 0 if there was none."""
        self._addresses = addresses
        self._max_peers = max_peers
        self._stays: dict[PublicKey, Stay] = {}

    @property
    def stays(self) -> Collection[Stay]:
        """The stays of all peers, in the order in which they came. This is a live view: copy it to keep it."""
        return self._stays.values()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is in the tenant, or on the way into it. Then the next newcomer makes it one tenant more."""
        return not self._stays

    def __contains__(self, stay: Stay) -> bool:
        """Whether the peer is in, in this turn of this stay."""
        held = self._stays.get(stay.peer.public_key)
        return held is not None and held.id == stay.id and held.turn == stay.turn

    def admit(self, stay_id: StayId, newcomer: Newcomer, session: SessionDigest = NO_SESSION) -> PeerJoined:
        """Decide on a newcomer and its address. Raises KeyInUse, PeerLimitReached or NoAddressLeft."""
        public_key = newcomer.public_key
        if public_key in self._stays:
            raise KeyInUse(f"{public_key} is live in {self.id}")
        if len(self._stays) >= self._max_peers:
            raise PeerLimitReached(f"{self.id} holds {self._max_peers} peers")
        address = self._addresses.next_for(public_key, newcomer.wish)
        peer = Peer(newcomer.display_name, public_key, address, newcomer.endpoints)
        stay = Stay(stay_id, self.id, peer, session, invitation=newcomer.invitation, until=newcomer.until)
        return PeerJoined(stay)

    def release(self, stay: Stay, cause: LeaveCause) -> PeerLeft:
        """Decide that a stay is to end. Raises Conflict if it has ended, or goes on in another turn."""
        return PeerLeft(self._held(stay), cause)

    def resume(self, public_key: PublicKey, secret: str) -> PeerResumed | None:
        """Decide that a peer comes back to its stay. None: there is none of this key that the secret opens."""
        stay = self._stays.get(public_key)
        if stay is None or not opens(secret, stay.session):
            return None
        return PeerResumed(replace(stay, turn=stay.turn + 1))

    def goes_on(self, stay: Stay) -> bool:
        """Whether the peer is in, in this turn of this stay or in a later one."""
        held = self._stays.get(stay.peer.public_key)
        return held is not None and held.id == stay.id

    def stay_of(self, public_key: PublicKey) -> Stay | None:
        """The stay of this key, if it is live here."""
        return self._stays.get(public_key)

    def update(
        self,
        stay: Stay,
        display_name: DisplayName | None = None,
        endpoints: tuple[Endpoint, ...] | None = None,
        is_proven: bool = False,
    ) -> PeerUpdated | None:
        """Decide on a peer's new name, new endpoints or both; None is the one it has. `is_proven`: it has shown that
        its key is its own, which stays so. Returns None if nothing changes.

        `stay` is as it was when that was said. If it goes on in another turn, what was changed since is kept.

        Raises Conflict if the stay has ended.
        """
        held = self._stays.get(stay.peer.public_key)
        if held is None or held.id != stay.id:
            raise Conflict(f"{stay.peer.virtual_ip} is not held in {self.id} by that stay")
        was, now = stay.peer, held.peer
        if held.turn != stay.turn:  # What was changed on another connection since is newer than this.
            display_name = display_name if now.display_name == was.display_name else None
            endpoints = endpoints if now.endpoints == was.endpoints else None
        peer = replace(
            now,
            display_name=now.display_name if display_name is None else display_name,
            endpoints=now.endpoints if endpoints is None else endpoints,
            proven=now.proven or is_proven,
        )
        return None if peer == now else PeerUpdated(replace(held, peer=peer))

    def apply(self, committed: Committed) -> None:
        """Change the membership as the event says. Raises Conflict, and changes nothing, if it contradicts it."""
        event = committed.event
        match event:
            case PeerJoined():
                self._join(event.stay)
            case PeerLeft():
                self._leave(event.stay)
            case PeerUpdated():
                self._replace(self._held(event.stay), event.stay)
            case PeerResumed():
                self._replace(self._held_earlier(event.stay), event.stay)
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
        self._held(stay)
        del self._stays[stay.peer.public_key]
        self._addresses.release(stay.peer.virtual_ip, stay.peer.public_key)

    def _replace(self, held: Stay, stay: Stay) -> None:
        """Put `stay` in the place of the same one as it was. It keeps its place in the order in which they came."""
        if held.peer.virtual_ip != stay.peer.virtual_ip:
            raise Conflict(f"{stay.peer.public_key} keeps its address for as long as it stays")
        self._stays[stay.peer.public_key] = stay

    def _held_earlier(self, stay: Stay) -> Stay:
        """The same stay in an earlier turn."""
        held = self._stays.get(stay.peer.public_key)
        if held is None or held.id != stay.id or held.turn >= stay.turn:
            raise Conflict(f"{stay.peer.virtual_ip} is not held in {self.id} by an earlier turn of that stay")
        return held

    def _held(self, stay: Stay) -> Stay:
        held = self._stays.get(stay.peer.public_key)
        if held is None or held.id != stay.id or held.turn != stay.turn:
            raise Conflict(f"{stay.peer.virtual_ip} is not held in {self.id} by that stay")
        return held
