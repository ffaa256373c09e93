"""The lanes of the protocol's versions."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wg_orchestrator.adapters.websocket.connection import Recipient
from wg_orchestrator.adapters.websocket.flush import Flushed
from wg_orchestrator.adapters.websocket.history import History, HistoryLimits
from wg_orchestrator.adapters.websocket.lane import Lane
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.events import (
    Committed,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerUpdated,
    assert_never,
)
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.wire import v1
from wg_orchestrator.wire.v2 import notices


class V1Lane(Lane):
    __slots__ = ()

    def _entry(self, peer: Peer) -> bytes:
        return v1.peer_entry(peer).payload

    def _greet(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        welcome = v1.welcome(newcomer.peer, self._roster.without(newcomer.peer.public_key.text))
        subscriber.recipient.welcome(welcome)
        self._telemetry.welcomed(len(welcome.frame))

    def _notice(self, committed: Committed, entry: bytes) -> Text | None:
        event = committed.event
        match event:
            case PeerJoined():
                notice: Text | None = Text(entry)
            case PeerLeft():
                notice = v1.peer_removal(event.stay.peer)
            case PeerUpdated() | PeerResumed():
                notice = None
            case _:
                assert_never(event)
        return notice


@dataclass(frozen=True, slots=True)
class V2Terms:
    """What a welcome says besides its tenant, and what is kept for those who come back."""

    network: Network
    grace: int = 60
    """Seconds for which a stay outlives its connection."""
    history: HistoryLimits = field(default_factory=HistoryLimits)


class V2Lane(Lane):
    __slots__ = ("_anew", "_away", "_history", "_places", "_revision", "_terms")

    def __init__(
        self,
        tenant: Tenant,
        telemetry: PeerTelemetry,
        terms: V2Terms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(tenant, telemetry)
        self._terms = terms
        self._history = History(tenant.revision, terms.history, clock)
        self._revision = tenant.revision
        # The keys of those whose connection here has ended, and who may come back.
        self._away: set[str] = set()
        # What a welcome says of each member alone: who it is, and its session's secret.
        self._places: dict[str, tuple[Peer, str]] = {}
        # Members that have to be given the whole picture anew.
        self._anew: dict[str, Recipient] = {}

    def size(self) -> int:
        return len(self._anew) + super().size()

    def is_needed(self) -> bool:
        return bool(self._away or self._anew) or super().is_needed()

    def has_news(self) -> bool:
        return bool(self._anew) or super().has_news()

    def recipients(self) -> Iterator[Recipient]:
        yield from self._anew.values()
        yield from super().recipients()

    def announce(self, committed: Committed) -> None:
        self._revision = committed.revision
        super().announce(committed)
        # Nobody is told of a resumption, so no picture changes by it.
        if not committed.is_numbered and not isinstance(committed.event, PeerResumed):
            self._history.begin_anew(committed.revision)
            self._anew |= self._withdraw()

    def write(self, clock: Callable[[], float], until: float, flushed: Flushed) -> bool:
        while self._anew:
            key, recipient = self._anew.popitem()
            try:
                flushed.size += self._welcome_anew(key, recipient)
            except Exception:
                self._tell_failed(recipient)
            if clock() >= until:
                return False
        return super().write(clock, until, flushed)

    def _welcome_anew(self, key: str, recipient: Recipient) -> int:
        peer, secret = self._places[key]
        others = self._roster.without(key)
        text = notices.welcome(self._revision, secret, self._terms.grace, peer, self._terms.network, others)
        recipient.welcome(text)
        self._has_picture(key, recipient)
        return len(text.frame)

    def let_away(self, key: str) -> None:
        """The peer's connection here has ended, and its stay has not."""
        self._away.add(key)

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        key = newcomer.peer.public_key.text
        self._away.discard(key)
        self._places[key] = newcomer.peer, subscriber.secret
        super().welcome(tenant, newcomer, subscriber)

    def release(self, key: str) -> Recipient | None:
        self._away.discard(key)
        self._places.pop(key, None)
        return self._anew.pop(key, None) or super().release(key)

    def _entry(self, peer: Peer) -> bytes:
        return notices.peer_entry(peer)

    def _greet(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        peer, terms, missed = newcomer.peer, self._terms, None
        if subscriber.knows is not None:
            missed = self._history.since(subscriber.knows, tenant.revision, peer.public_key.text)
            self._telemetry.resumed("welcomed anew" if missed is None else "resumed")
        if missed is None:
            others = self._roster.without(peer.public_key.text)
            text = notices.welcome(tenant.revision, subscriber.secret, terms.grace, peer, terms.network, others)
        else:
            text = notices.resumed(subscriber.knows or 0, subscriber.secret, terms.grace, peer, terms.network)
        subscriber.recipient.welcome(text)
        size = len(text.frame)
        if missed:
            news = Notices(missed)
            subscriber.recipient.send(news)
            size += len(news.wire)
        self._telemetry.welcomed(size)

    def _notice(self, committed: Committed, entry: bytes) -> Text | None:
        event, revision = committed.event, committed.revision
        own = ""
        match event:
            case PeerJoined():
                text = notices.joined(revision, entry)
            case PeerUpdated():
                text = notices.updated(revision, entry)
                own = event.stay.peer.public_key.text
            case PeerLeft():
                text = notices.left(revision, event.stay.peer)
            case PeerResumed():
                return None
            case _:
                assert_never(event)
        self._history.add(revision, text, own, bool(self._away))
        return text
