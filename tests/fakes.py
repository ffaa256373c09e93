from dataclasses import dataclass, field

from wg_orchestrator.domain.events import MembershipEvent, PeerJoined, PeerLeft
from wg_orchestrator.domain.peer import Peer, VirtualIP
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId


@dataclass(frozen=True)
class Welcome:
    newcomer: Peer
    others: tuple[Peer, ...]


@dataclass(eq=False)
class Subscriber:
    """A peer that notes what it is told."""

    seen: list[Welcome | MembershipEvent] = field(default_factory=list)
    ended: bool = False

    def picture(self) -> dict[VirtualIP, Peer]:
        """The tenant, itself included, that follows from what it was told. Fails if that contradicts itself."""
        picture: dict[VirtualIP, Peer] = {}
        for number, told in enumerate(self.seen):
            assert isinstance(told, Welcome) == (number == 0), "the welcome comes once, and first"
            if isinstance(told, Welcome):
                picture = {peer.virtual_ip: peer for peer in [told.newcomer, *told.others]}
                assert len(picture) == len(told.others) + 1, "an address is held twice"
            elif isinstance(told, PeerJoined):
                assert told.peer.virtual_ip not in picture, "an address is announced while it is held"
                picture[told.peer.virtual_ip] = told.peer
            else:
                assert picture.pop(told.peer.virtual_ip, None) == told.peer, "left, and was never there"
        return picture


class RecordingNotifier:
    """A PeerNotifier whose peers are in the same process. It passes the same contract as the real ones."""

    def __init__(self) -> None:
        self._subscribers: dict[tuple[TenantId, VirtualIP], Subscriber] = {}

    def welcome(self, tenant: Tenant, newcomer: Peer, subscriber: Subscriber) -> None:
        self._subscribers[tenant.id, newcomer.virtual_ip] = subscriber
        others = tuple(peer for peer in tenant.peers if peer != newcomer)
        subscriber.seen.append(Welcome(newcomer, others))

    def announce(self, event: MembershipEvent) -> None:
        subject = event.tenant_id, event.peer.virtual_ip
        if isinstance(event, PeerLeft) and (leaver := self._subscribers.pop(subject, None)):
            leaver.ended = True
        for key, subscriber in self._subscribers.items():
            if key[0] == event.tenant_id and key != subject:
                subscriber.seen.append(event)
