from collections.abc import Callable

from wg_orchestrator.adapters.websocket.connection import Recipient
from wg_orchestrator.adapters.websocket.roster import Roster
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.events import MembershipEvent, PeerJoined, PeerLeft, assert_never
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.domain.tenant import Tenant
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.wire import close_codes as closes
from wg_orchestrator.wire import v1


class Flush:
    """Notices on their way to everyone who was there when they set out, written in as many turns as that takes."""

    __slots__ = ("_members", "_newcomers", "_notices", "_tell_failed", "count", "sent", "size", "took")

    def __init__(
        self,
        notices: Notices,
        members: dict[str, Recipient],
        newcomers: dict[str, tuple[Recipient, int]],
        tell_failed: Callable[[Recipient], None],
    ) -> None:
        """Both by key, its own from now on. Newcomers know the first so many of the notices from their welcome."""
        self._notices = notices
        self.count = len(notices.texts)
        """Of the notices."""
        self._members = members
        self._newcomers = newcomers
        self._tell_failed = tell_failed
        self.sent = 0
        """Notices, one for each receiver; and their bytes."""
        self.size = 0
        self.took = 0.0
        """Seconds of writing so far."""

    def spare(self, key: str) -> None:
        """Tell this one nothing any more."""
        self._members.pop(key, None)
        self._newcomers.pop(key, None)

    def write(self, clock: Callable[[], float], until: float) -> bool:
        """Write on, at least to one, until it is `until`. Returns whether everybody has been written to."""
        began = now = clock()
        notices, members, newcomers, waiting = self._notices, self._members, self._newcomers, len(self._members)
        try:
            while members:
                _, recipient = members.popitem()
                try:
                    recipient.send(notices)
                except Exception:
                    self._tell_failed(recipient)
                if (now := clock()) >= until:
                    return not members and not newcomers
            while newcomers:
                _, (recipient, known) = newcomers.popitem()
                if known < self.count:
                    self._write_news(recipient, notices.after(known))
                if (now := clock()) >= until:
                    return not newcomers
            return True
        finally:
            told = waiting - len(members)
            self.sent += told * self.count
            self.size += told * len(notices.wire)
            self.took += now - began

    def _write_news(self, recipient: Recipient, news: Notices) -> None:
        try:
            recipient.send(news)
        except Exception:
            self._tell_failed(recipient)
        self.sent += len(news.texts)
        self.size += len(news.wire)


class Channel:
    """The notices of one tenant, and those of its peers that are connected here.

    Everybody gets one order: notices are collected, set out together as a flush, and the next one sets out when all
    have been written to.
    """

    __slots__ = (
        "_flush", "_members", "_newcomers", "_pending", "_roster", "_telemetry", "is_scheduled", "not_before",
        "tenant_id",
    )  # fmt: skip

    def __init__(self, tenant: Tenant, telemetry: PeerTelemetry) -> None:
        self.tenant_id = tenant.id
        self._telemetry = telemetry
        # By public key, which is live once in a tenant; so are the two below.
        self._roster = Roster((stay.peer.public_key.text, v1.peer_entry(stay.peer).payload) for stay in tenant.stays)
        self._pending: list[Text] = []
        self._members: dict[str, Recipient] = {}
        # Who came since the last flush set out, and how many of the pending notices came before it and are not for it.
        self._newcomers: dict[str, tuple[Recipient, int]] = {}
        self._flush: Flush | None = None
        self.is_scheduled = False
        """Whether somebody will have it `write`."""
        self.not_before = 0.0
        """When its next flush may set out."""

    def size(self) -> int:
        """How many are connected here."""
        return len(self._members) + len(self._newcomers)

    def has_news(self) -> bool:
        return bool(self._pending)

    def recipients(self) -> list[Recipient]:
        return [*self._members.values(), *(recipient for recipient, _ in self._newcomers.values())]

    def welcome(self, newcomer: Peer, recipient: Recipient) -> None:
        key = newcomer.public_key.text
        welcome = v1.welcome(newcomer, self._roster.without(key))
        recipient.welcome(welcome)
        self._telemetry.welcomed(len(welcome.frame))
        # What is on its way in a flush is in the welcome, too, as is all that is pending.
        self._newcomers[key] = recipient, len(self._pending)

    def announce(self, event: MembershipEvent) -> None:
        peer = event.stay.peer
        key = peer.public_key.text
        match event:
            case PeerJoined():
                notice = v1.peer_entry(peer)
                self._roster.add(key, notice.payload)
            case PeerLeft():
                self.release(event)
                self._roster.remove(key)
                notice = v1.peer_removal(peer)
            case _:
                assert_never(event)
        self._pending.append(notice)

    def release(self, event: PeerLeft) -> None:
        """Tell a peer that has left nothing any more. If its connection is still there, end it."""
        key = event.stay.peer.public_key.text
        if self._flush is not None:
            self._flush.spare(key)
        newcomer, _ = self._newcomers.pop(key, (None, 0))
        recipient = self._members.pop(key, newcomer)
        if recipient is not None:
            recipient.close(closes.PUT_OUT[event.cause])

    def write(self, clock: Callable[[], float], until: float) -> Flush | None:
        """Let a flush set out, or go on, until it is `until`. Returns it once everybody has been written to."""
        flush = self._flush or self._set_out()
        if not flush.write(clock, until):
            return None
        self._flush = None
        return flush

    def _set_out(self) -> Flush:
        notices = Notices(self._pending)
        flush = self._flush = Flush(notices, self._members.copy(), self._newcomers, self._tell_failed)
        self._members.update((key, recipient) for key, (recipient, _) in self._newcomers.items())
        self._pending, self._newcomers = [], {}
        return flush

    def _tell_failed(self, recipient: Recipient) -> None:
        """An exception that is being handled has kept notices from this one peer."""
        self._telemetry.failed("notices failed", self.tenant_id)
        recipient.close(closes.INTERNAL_ERROR)
