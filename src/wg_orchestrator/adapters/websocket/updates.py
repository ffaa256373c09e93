import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import DisplayName, Peer


@dataclass(frozen=True, slots=True)
class Change:
    """A new name and new endpoints; None is unchanged."""

    display_name: DisplayName | None
    endpoints: tuple[Endpoint, ...] | None
    is_proven: bool = False
    """Whether the peer has shown by now that its key is its own."""

    def changes(self, peer: Peer) -> bool:
        is_proof = self.is_proven and not peer.proven
        return (
            is_proof
            or self.display_name not in (None, peer.display_name)
            or self.endpoints not in (None, peer.endpoints)
        )

    def after(self, before: "Change") -> "Change":
        """Both, one after the other."""
        return Change(
            before.display_name if self.display_name is None else self.display_name,
            before.endpoints if self.endpoints is None else self.endpoints,
            before.is_proven or self.is_proven,
        )


class Updates:
    """A peer's changes on their way to the others: the first is told at once, later ones at most one each interval, and
    the last one wins. They are told one after the other.
    """

    __slots__ = ("_due", "_interval", "_is_telling", "_not_before", "_said", "_tell", "_waiting")

    def __init__(self, tell: Callable[[Change], None], said: Callable[[str], None], interval: float) -> None:
        """`tell` begins to tell a change; when that is done, `told` is to be called. `said` hears of each change that
        is not told: "coalesced" if a later one has taken its place, "dropped" if it changes nothing. `interval` is in
        seconds.
        """
        self._tell = tell
        self._said = said
        self._interval = interval
        self._is_telling = False
        self._not_before = 0.0
        self._waiting: Change | None = None
        self._due: asyncio.TimerHandle | None = None

    @property
    def are_done(self) -> bool:
        """Whether nothing waits to be told, or is being told."""
        return self._waiting is None and not self._is_telling

    def add(self, peer: Peer, change: Change) -> None:
        """Tell this of `peer`, who is known as this now, when it is due."""
        if self._waiting is not None:
            self._said("coalesced")
            self._waiting = change.after(self._waiting)
        elif not self._is_telling and not change.changes(peer):
            self._said("dropped")
        else:
            self._waiting = change
            self._schedule()

    def told(self) -> None:
        """The change that was being told is told, or can't be."""
        self._is_telling = False
        self._schedule()

    def end(self) -> None:
        """Tell nothing any more."""
        self._waiting = None
        self._schedule()

    def _schedule(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._waiting is None or self._is_telling:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            self._due = loop.call_at(self._not_before, self._schedule)
            return
        change, self._waiting = self._waiting, None
        self._is_telling, self._not_before = True, loop.time() + self._interval
        self._tell(change)
