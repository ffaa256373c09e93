from collections.abc import Callable, Iterator

from wg_orchestrator.adapters.websocket.connection import Recipient
from wg_orchestrator.adapters.websocket.flush import Flushed
from wg_orchestrator.adapters.websocket.lane import Lane
from wg_orchestrator.adapters.websocket.lanes import V1Lane, V2Lane, V2Terms
from wg_orchestrator.adapters.websocket.subscriber import Subscriber
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.events import (
    Committed,
    MembershipEvent,
    PeerJoined,
    PeerLeft,
    PeerResumed,
    PeerUpdated,
    assert_never,
)
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.wire import close_codes as closes
from wg_orchestrator.wire.subprotocol import V1, V2


class Channel:
    """The peers of one tenant that are connected here, and what they are told: a lane for each version they speak."""

    __slots__ = (
        "_flushed", "_lanes", "_telemetry", "_terms", "_v2", "_writing", "is_scheduled", "not_before", "tenant_id",
    )  # fmt: skip

    def __init__(self, tenant: Tenant, telemetry: PeerTelemetry, terms: V2Terms) -> None:
        self.tenant_id = tenant.id
        self._telemetry = telemetry
        self._terms = terms
        self._lanes: dict[str, Lane] = {}
        self._v2: V2Lane | None = None
        # Of the flush that is under way, if there is one: the lanes that have yet to write it, and what it came to.
        self._writing: list[Lane] = []
        self._flushed: Flushed | None = None
        self.is_scheduled = False
        """Whether somebody will have it `write`."""
        self.not_before = 0.0
        """When its next flush may set out."""

    def size(self) -> int:
        """How many are connected here."""
        return sum(lane.size() for lane in self._lanes.values())

    def is_needed(self) -> bool:
        """Whether there is anybody whom it has to tell something, now or later."""
        # This is asked at each event, and `any` would take several times as long.
        for lane in self._lanes.values():  # noqa: SIM110
            if lane.is_needed():
                return True
        return False

    def has_news(self) -> bool:
        for lane in self._lanes.values():  # noqa: SIM110 - as above
            if lane.has_news():
                return True
        return False

    def recipients(self) -> Iterator[Recipient]:
        for lane in self._lanes.values():
            yield from lane.recipients()

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        lane = self._lanes.get(subscriber.version) or self._open(tenant, subscriber.version)
        lane.welcome(tenant, newcomer, subscriber)

    def announce(self, committed: Committed) -> None:
        self.release(committed.event)
        for lane in self._lanes.values():
            lane.announce(committed)

    def release(self, event: MembershipEvent) -> None:
        """Tell a peer that has left, or lives on another connection now, nothing any more. If the one that it lived on
        is still there, end it.
        """
        match event:
            case PeerLeft():
                close = closes.PUT_OUT[event.cause]
            case PeerResumed():
                close = closes.SUPERSEDED
            case PeerJoined() | PeerUpdated():
                return
            case _:
                assert_never(event)
        key = event.stay.peer.public_key.text
        for version, lane in self._lanes.items():
            if (recipient := lane.release(key)) is not None:
                recipient.close(close if version == V2 else closes.in_v1(close))

    def let_away(self, stay: Stay) -> None:
        """The connection that the peer lived on here has ended, and its stay has not."""
        key = stay.peer.public_key.text
        if self._v2 is not None:
            self._v2.release(key)
            self._v2.let_away(key)

    def write(self, clock: Callable[[], float], until: float) -> Flushed | None:
        """Let each lane's notices set out, or go on, until it is `until`. Returns what that came to, once everybody has
        been written to.
        """
        if self._flushed is None:
            self._writing = [lane for lane in self._lanes.values() if lane.has_news()]
            self._flushed = Flushed()
            for lane in self._writing:  # All together: so it is one order, whatever the version.
                self._flushed.count += lane.set_out()
        while self._writing:
            if not self._writing[-1].write(clock, until, self._flushed):
                return None
            self._writing.pop()
            if self._writing and clock() >= until:
                return None
        flushed, self._flushed = self._flushed, None
        return flushed

    def _open(self, tenant: Tenant, version: str) -> Lane:
        if version == V2:
            self._lanes[V2] = self._v2 = V2Lane(tenant, self._telemetry, self._terms)
        else:
            self._lanes[V1] = V1Lane(tenant, self._telemetry)
        return self._lanes[version]
