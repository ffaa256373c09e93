from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from wg_orchestrator.rfc6455.message import Text


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What is kept of the notices of one tenant, for those who come back."""

    notices: int = 1024
    size: int = 1024 * 1024
    """Bytes of their frames together."""
    while_all_are_here: float = 30.0
    """Seconds for which a notice is kept while nobody is away: by then a lost connection was noticed."""


class _Entry(NamedTuple):
    revision: int
    own: str
    at: float
    text: Text


class History:
    """The last notices of a tenant, to tell a peer that was away what it missed."""

    __slots__ = ("_clock", "_entries", "_floor", "_limits", "_size")

    def __init__(self, revision: int, limits: HistoryLimits, clock: Callable[[], float]) -> None:
        """It begins after that revision of the tenant."""
        self._limits = limits
        self._clock = clock
        self._entries: deque[_Entry] = deque()
        self._floor = revision
        self._size = 0

    def begin_anew(self, revision: int) -> None:
        """Forget everything. It begins after that revision."""
        self._entries.clear()
        self._size, self._floor = 0, revision

    def add(self, revision: int, text: Text, own: str, is_anybody_away: bool) -> None:
        """Keep the notice of the event with that revision. The peer whose key `own` is is not to be told of it."""
        now, limits = self._clock(), self._limits
        self._entries.append(_Entry(revision, own, now, text))
        self._size += len(text.frame)
        oldest = 0.0 if is_anybody_away else now - limits.while_all_are_here
        entries = self._entries
        while entries and (len(entries) > limits.notices or self._size > limits.size or entries[0].at < oldest):
            forgotten = entries.popleft()
            self._size -= len(forgotten.text.frame)
            self._floor = forgotten.revision

    def since(self, revision: int, last: int, key: str) -> list[Text] | None:
        """What the peer of that key has missed whose picture is as of `revision`, up to the tenant's `last` one.

        None: not all of that is kept, or there is no such revision yet.
        """
        if not self._floor <= revision <= last:
            return None
        first = bisect_right(self._entries, revision, key=_revision)
        return [entry.text for entry in islice(self._entries, first, None) if entry.own != key]


def _revision(entry: _Entry) -> int:
    return entry.revision
