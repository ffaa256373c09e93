from dataclasses import dataclass, field
from typing import TypeAlias

from wg_orchestrator.domain.events import Committed, PeerJoined, PeerLeft, PeerResumed, PeerUpdated, assert_never
from wg_orchestrator.domain.peer import Peer, VirtualIP
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.domain.tenant_id import TenantId


@dataclass(frozen=True)
class Welcome:
    newcomer: Peer
    others: tuple[Peer, ...]


@dataclass(frozen=True)
class Joined:
    peer: Peer


@dataclass(frozen=True)
class Left:
    peer: Peer


@dataclass(frozen=True)
class Updated:
    peer: Peer


Told: TypeAlias = Welcome | Joined | Left | Updated


def told(committed: Committed) -> Joined | Left | Updated | None:
    """What an event says to a peer; None: nothing."""
    event = committed.event
    if isinstance(event, PeerJoined):
        return Joined(event.stay.peer)
    if isinstance(event, PeerLeft):
        return Left(event.stay.peer)
    if isinstance(event, PeerUpdated):
        return Updated(event.stay.peer)
    if isinstance(event, PeerResumed):
        return None
    return assert_never(event)


@dataclass(eq=False)
class Subscriber:
    """A peer that notes what it is told."""

    seen: list[Told] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)
    """That of each thing it was told."""
    ended: bool = False

    def picture(self) -> dict[VirtualIP, Peer]:
        """The tenant, itself included, that follows from what it was told. Fails if that contradicts itself."""
        picture: dict[VirtualIP, Peer] = {}
        for number, told in enumerate(self.seen):
            assert isinstance(told, Welcome) == (number == 0), "the welcome comes once, and first"
            if isinstance(told, Welcome):
                picture = {peer.virtual_ip: peer for peer in [told.newcomer, *told.others]}
                assert len(picture) == len(told.others) + 1, "an address is held twice"
            elif isinstance(told, Joined):
                assert told.peer.virtual_ip not in picture, "an address is announced while it is held"
                picture[told.peer.virtual_ip] = told.peer
            elif isinstance(told, Updated):
                assert picture[told.peer.virtual_ip].public_key == told.peer.public_key, "updated, and was never there"
                picture[told.peer.virtual_ip] = told.peer
            else:
                assert picture.pop(told.peer.virtual_ip, None) == told.peer, "left, and was never there"
        assert self.revisions == sorted(set(self.revisions)), "an event has no revision of its own, or a lower one"
        return picture


class RecordingNotifier:
    """A PeerNotifier whose peers are in the same process. It passes the same contract as the real ones."""

    def __init__(self) -> None:
        self._subscribers: dict[tuple[TenantId, VirtualIP], Subscriber] = {}

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        self._subscribers[tenant.id, newcomer.peer.virtual_ip] = subscriber
        others = tuple(stay.peer for stay in tenant.stays if stay != newcomer)
        subscriber.seen.append(Welcome(newcomer.peer, others))
        subscriber.revisions.append(tenant.revision)

    def announce(self, committed: Committed) -> None:
        event = committed.event
        stay = event.stay
        subject = stay.tenant_id, stay.peer.virtual_ip
        if isinstance(event, PeerLeft | PeerResumed) and (leaver := self._subscribers.pop(subject, None)):
            leaver.ended = True
        for key, subscriber in self._subscribers.items():
            if key[0] == stay.tenant_id and key != subject and (news := told(committed)) is not None:
                subscriber.seen.append(news)
                subscriber.revisions.append(committed.revision)
