from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from wg_orchestrator.adapters.websocket.session import Session, V2Session
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.domain.presence import Behind, Convergence, Presence, first_behind
from wg_orchestrator.domain.stay import Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId


class Connected:
    """The sessions whose connections live. Of a stay that goes on in another turn, it is the latest one."""

    def __init__(self, latest: Callable[[TenantId], int]) -> None:
        """`latest` gives a tenant's latest revision."""
        self._latest = latest
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

    def count(self) -> int:
        return len(self._sessions)

    def of_stays(self, stays: Iterable[StayId]) -> list[Presence]:
        """See Presences."""
        found = (self._sessions.get(stay_id) for stay_id in stays)
        return [_presence(session) for session in found if session is not None]

    def paths(self, stays: Iterable[StayId]) -> dict[StayId, Mapping[VirtualIP, PathKind]]:
        """See Presences."""
        found = ((stay_id, self._sessions.get(stay_id)) for stay_id in stays)
        return {
            stay_id: session.paths for stay_id, session in found if isinstance(session, V2Session) and session.paths
        }

    def convergence(self, tenants: Iterable[TenantId]) -> dict[TenantId, Convergence]:
        """See Presences."""
        latest = {tenant_id: self._latest(tenant_id) for tenant_id in tenants}
        by, of = Counter[TenantId](), Counter[TenantId]()
        behind: dict[TenantId, list[Behind]] = {}
        for session in self._sessions.values():
            tenant_id = session.stay.tenant_id
            if tenant_id not in latest or not isinstance(session, V2Session):
                continue
            applied = session.applied if session.applied <= latest[tenant_id] else 0
            of[tenant_id] += 1
            if applied == latest[tenant_id]:
                by[tenant_id] += 1
            else:
                peer, since = session.stay.peer, session.applied_at if applied else session.since
                behind.setdefault(tenant_id, []).append(Behind(peer.display_name, str(peer.virtual_ip), applied, since))
        return {
            tenant_id: Convergence(by[tenant_id], of[tenant_id], first_behind(behind.get(tenant_id, ())))
            for tenant_id in of
        }

    def applied(self, wanted: Mapping[TenantId, int]) -> tuple[int, int]:
        """How many of the peers in the tenants of `wanted` have applied the revision there, or a later one up to the
        tenant's latest; and how many there are that say what they have applied.
        """
        by = of = 0
        for session in self._sessions.values():
            tenant_id = session.stay.tenant_id
            if tenant_id in wanted and isinstance(session, V2Session) and session.applied:
                of += 1
                by += wanted[tenant_id] <= session.applied <= self._latest(tenant_id)
        return by, of


def _presence(session: Session) -> Presence:
    applied, applied_at = (session.applied, session.applied_at) if isinstance(session, V2Session) else (0, 0)
    return Presence(session.stay.id, session.source, session.protocol, session.since, applied, applied_at)
