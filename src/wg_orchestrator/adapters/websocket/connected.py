from collections.abc import Callable, Iterator, Mapping

from wg_orchestrator.adapters.websocket.session import Session, V2Session
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId


class Connected:
    """The sessions whose connections live. Of a stay that goes on in another turn, it is the latest one."""

    def __init__(self) -> None:
        self._sessions: dict[StayId, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        """A copy of all of them."""
        return iter(list(self._sessions.values()))

    def __contains__(self, stay: Stay) -> bool:
        return stay.id in self._sessions

    def add(self, session: Session) -> None:
        self._sessions[session.stay.id] = session

    def discard(self, session: Session) -> None:
        """The session's connection has ended."""
        if self._sessions.get(session.stay.id) is session:
            del self._sessions[session.stay.id]

    def applied(self, wanted: Mapping[TenantId, int], latest: Callable[[TenantId], int]) -> tuple[int, int]:
        """How many of the peers in the tenants of `wanted` have applied the revision there, or a later one up to the
        `latest` one; and how many there are that say what they have applied.
        """
        by = of = 0
        for session in self._sessions.values():
            tenant_id = session.stay.tenant_id
            if tenant_id in wanted and isinstance(session, V2Session) and session.applied:
                of += 1
                by += wanted[tenant_id] <= session.applied <= latest(tenant_id)
        return by, of
