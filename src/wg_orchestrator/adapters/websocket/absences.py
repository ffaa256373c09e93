import asyncio
from collections.abc import Callable

from wg_orchestrator.adapters.websocket.arrival import Resumption
from wg_orchestrator.adapters.websocket.session import V2Session
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.stay import StayId

_LATE = 0.5
"""Seconds by which a grace ends late only if the process stood still."""


class Absences:
    """Peers whose connection has ended, and who may come back until their grace is over."""

    def __init__(self, resumption: Resumption, telemetry: PeerTelemetry, is_over: Callable[[V2Session], None]) -> None:
        """`is_over` is called with each session whose grace is over. If more are away than may be, that is the one that
        is away longest.
        """
        self._grace = resumption.grace
        self._telemetry = telemetry
        self._is_over = is_over
        self._most = resumption.most_away
        # In the order in which they went.
        self._away: dict[StayId, tuple[V2Session, asyncio.TimerHandle]] = {}

    def begin(self, session: V2Session) -> None:
        """The session's connection has ended."""
        self._wait(self._grace, session)
        if len(self._away) > self._most:
            longest, _ = next(iter(self._away.values()))
            self.end(longest.stay.id)
            self._is_over(longest)

    def __contains__(self, stay_id: StayId) -> bool:
        """Whether the peer of this stay is away."""
        return stay_id in self._away

    def end(self, stay_id: StayId) -> None:
        """The peer of this stay is not away any more, if it was."""
        _, timer = self._away.pop(stay_id, (None, None))
        if timer is not None:
            timer.cancel()
            self._telemetry.are_away(len(self._away))

    def _wait(self, seconds: float, session: V2Session) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._away[session.stay.id] = session, loop.call_at(due, self._end_grace, session, due)
        self._telemetry.are_away(len(self._away))

    def _end_grace(self, session: V2Session, due: float) -> None:
        # If this process stood still, nobody could come back to it: that time is given again.
        late = asyncio.get_running_loop().time() - due
        if late > _LATE:
            self._wait(min(late, self._grace), session)
        else:
            self.end(session.stay.id)
            self._is_over(session)
