from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from wg_orchestrator.adapters.websocket.connection import Recipient
from wg_orchestrator.adapters.websocket.flush import Flush, Flushed
from wg_orchestrator.adapters.websocket.roster import Roster
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
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.stay import Stay
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.wire import close_codes as closes


class Lane(ABC):
    """The peers of one tenant that are connected here and speak one version of the protocol, and their notices.

    Everybody gets one order: notices are collected, set out together as a flush, and the next one sets out when all
    have been written to. What all are told is encoded once.
    """

    __slots__ = ("_flush", "_members", "_newcomers", "_own", "_pending", "_roster", "_telemetry", "_tenant_id")

    def __init__(self, tenant: Tenant, telemetry: PeerTelemetry) -> None:
        self._tenant_id = tenant.id
        self._telemetry = telemetry
        # By public key, which is live once in a tenant; so are the two below.
        self._roster = Roster((stay.peer.public_key.text, self._entry(stay.peer)) for stay in tenant.stays)
        self._members: dict[str, Recipient] = {}
        # Who came since the last flush set out, and how many of the pending notices came before it and are not for it.
        self._newcomers: dict[str, tuple[Recipient, int]] = {}
        self._pending: list[Text] = []
        # Whose own update a pending notice is, by the notice's number: that peer is not told of it.
        self._own: dict[int, str] = {}
        self._flush: Flush | None = None

    @abstractmethod
    def _entry(self, peer: Peer) -> bytes:
        """The peer's entry in a roster, as JSON."""

    @abstractmethod
    def _notice(self, committed: Committed, entry: bytes) -> Text | None:
        """What is told of an event; `entry` is the entry of whoever has joined or updated. None: nothing."""

    @abstractmethod
    def _greet(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        """Give a newcomer the picture of the tenant as it is now."""

    def size(self) -> int:
        """How many are connected here."""
        return len(self._members) + len(self._newcomers)

    def is_needed(self) -> bool:
        """Whether there is anybody whom it has to tell something, now or later."""
        return bool(self._members or self._newcomers)

    def has_news(self) -> bool:
        return bool(self._pending)

    def recipients(self) -> Iterator[Recipient]:
        yield from self._members.values()
        yield from (recipient for recipient, _ in self._newcomers.values())

    def welcome(self, tenant: Tenant, newcomer: Stay, subscriber: Subscriber) -> None:
        """Give a newcomer its picture, and tell it from now on what happens."""
        self._greet(tenant, newcomer, subscriber)
        self._has_picture(newcomer.peer.public_key.text, subscriber.recipient)

    def _has_picture(self, key: str, recipient: Recipient) -> None:
        """Take note that a peer has the tenant's present picture: what is pending or on its way in a flush is in it."""
        self._newcomers[key] = recipient, len(self._pending)

    def announce(self, committed: Committed) -> None:
        event = committed.event
        key, entry = event.stay.peer.public_key.text, b""
        match event:
            case PeerJoined():
                entry = self._entry(event.stay.peer)
                self._roster.add(key, entry)
            case PeerUpdated():
                entry = self._entry(event.stay.peer)
                self._roster.replace(key, entry)
            case PeerLeft():
                self._roster.remove(key)
            case PeerResumed():
                pass
            case _:
                assert_never(event)
        notice = self._notice(committed, entry)
        if notice is not None:
            if isinstance(event, PeerUpdated):
                self._own[len(self._pending)] = key
            self._pending.append(notice)

    def release(self, key: str) -> Recipient | None:
        """Tell this peer nothing any more. Returns where it was told things, if it is connected here."""
        if self._flush is not None:
            self._flush.spare(key)
        newcomer, _ = self._newcomers.pop(key, (None, 0))
        return self._members.pop(key, newcomer)

    def set_out(self) -> int:
        """Make a flush of what is pending, and return how many notices that are. No other flush is under way."""
        count = len(self._pending)
        members = self._members.copy()
        others = {key: newcomer for key, newcomer in self._newcomers.items() if newcomer[1] < count}
        self._members.update((key, recipient) for key, (recipient, _) in self._newcomers.items())
        for key in self._own.values():
            if (recipient := members.pop(key, None)) is not None:
                others[key] = recipient, 0
        flush = self._flush = Flush(Notices(self._pending), members, others, self._own, self._tell_failed)
        self._pending, self._newcomers, self._own = [], {}, {}
        return flush.count

    def write(self, clock: Callable[[], float], until: float, flushed: Flushed) -> bool:
        """Write on until it is `until`, and count that in. Returns whether everybody has been written to."""
        if self._flush is not None and not self._flush.write(clock, until, flushed):
            return False
        self._flush = None
        return True

    def _withdraw(self) -> dict[str, Recipient]:
        """Tell nobody what is pending or on its way. Returns who was to be told, and is told nothing until welcomed."""
        self._flush = None
        everyone = self._members | {key: recipient for key, (recipient, _) in self._newcomers.items()}
        self._members, self._newcomers, self._pending, self._own = {}, {}, [], {}
        return everyone

    def _tell_failed(self, recipient: Recipient) -> None:
        """An exception that is being handled has kept notices from this one peer."""
        self._telemetry.failed("notices failed", self._tenant_id)
        recipient.close(closes.INTERNAL_ERROR)
