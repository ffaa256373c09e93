from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wg_orchestrator.adapters.websocket.connection import Recipient
from wg_orchestrator.rfc6455.message import Notices


@dataclass
class Flushed:
    """What it came to, to have everybody written to."""

    count: int = 0
    """Notices that set out together."""
    sent: int = 0
    """Notices, one for each receiver; and their bytes."""
    size: int = 0
    took: float = 0.0
    """Seconds of writing."""


class Flush:
    """Notices on their way to everyone who was there when they set out, written in as many turns as that takes."""

    __slots__ = ("_members", "_notices", "_others", "_own", "_tell_failed")

    def __init__(
        self,
        notices: Notices,
        members: dict[str, Recipient],
        others: dict[str, tuple[Recipient, int]],
        own: Mapping[int, str],
        tell_failed: Callable[[Recipient], None],
    ) -> None:
        """Both groups by key, its own from now on. `members` are told all notices.

        `others` are not: they know the first so many from their welcome; and `own` says of which notices, by their
        numbers, which key is not told.
        """
        self._notices = notices
        self._members = members
        self._others = others
        self._own = own
        self._tell_failed = tell_failed

    @property
    def count(self) -> int:
        """Of the notices."""
        return len(self._notices.texts)

    def spare(self, key: str) -> None:
        """Tell this one nothing any more."""
        self._members.pop(key, None)
        self._others.pop(key, None)

    def write(self, clock: Callable[[], float], until: float, flushed: Flushed) -> bool:
        """Write on, at least to one, until it is `until`, and count that in. Returns whether everybody has been
        written to.
        """
        began = now = clock()
        notices, members, others, waiting = self._notices, self._members, self._others, len(self._members)
        try:
            while members:
                _, recipient = members.popitem()
                try:
                    recipient.send(notices)
                except Exception:
                    self._tell_failed(recipient)
                if (now := clock()) >= until:
                    return not members and not others
            while others:
                key, (recipient, known) = others.popitem()
                self._write_news(recipient, key, known, flushed)
                if (now := clock()) >= until:
                    return not others
            return True
        finally:
            told = waiting - len(members)
            flushed.sent += told * self.count
            flushed.size += told * len(notices.wire)
            flushed.took += now - began

    def _write_news(self, recipient: Recipient, key: str, known: int, flushed: Flushed) -> None:
        own = self._own
        texts = [text for number, text in enumerate(self._notices.texts) if number >= known and own.get(number) != key]
        if not texts:
            return
        news = Notices(texts)
        try:
            recipient.send(news)
        except Exception:
            self._tell_failed(recipient)
        flushed.sent += len(texts)
        flushed.size += len(news.wire)
