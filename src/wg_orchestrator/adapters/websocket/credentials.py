"""How credentials come with a handshake, and its answer if they do not let in (RFC 6750, sections 2.1 and 3)."""

import time
from dataclasses import dataclass, field

from wg_orchestrator.adapters.websocket.connection import Connection
from wg_orchestrator.adapters.websocket.rates import SourceBudgets, site_of
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.admission import OPEN, Grant
from wg_orchestrator.domain.errors import (
    BadCredentials,
    NoCredentials,
    NotAdmitted,
    NotCheckable,
    NotForThisTenant,
)
from wg_orchestrator.domain.ports import Admission
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.rfc6455.handshake import Headers

MAX_BAD_RATE = 100.0
"""Bad tokens a second, averaged over ten seconds, after which a source's tokens are not looked at any more, but for
those that were found good before. To check a signature costs about as much as a join.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response instead of a WebSocket."""

    reason: str
    """One of a few fixed phrases, for logs and metrics."""
    status: int
    headers: dict[str, str] = field(default_factory=dict)


_ANSWERS = {
    NoCredentials: Answer("no token", 401, {"www-authenticate": "Bearer"}),
    BadCredentials: Answer("bad token", 401, {"www-authenticate": 'Bearer error="invalid_token"'}),
    NotForThisTenant: Answer(
        "token for another tenant", 403, {"www-authenticate": 'Bearer error="insufficient_scope"'}
    ),
}


_TOO_MANY = Answer("too many bad tokens", 429, {"retry-after": "1"})


class Credentials:
    """Asks the Admission about each handshake, and answers those that it does not let in."""

    def __init__(self, admission: Admission, telemetry: PeerTelemetry, max_bad_rate: float = MAX_BAD_RATE) -> None:
        self._admission = admission
        self._telemetry = telemetry
        self._budgets = SourceBudgets(max_bad_rate)

    async def grant(self, connection: Connection, tenant_id: TenantId, headers: Headers, source: str) -> Grant | None:
        """What the client's credentials grant it. None: they do not let it in, and it has been told so. Raises Gone."""
        invitation, text = "", "too many bad tokens from this address"
        try:
            token = bearer_token(headers)
            if token is not None and self._may_not_be_looked_at(token, source):
                refused = _TOO_MANY
            else:
                grant = await self._admission.admit(tenant_id, token)
                if grant is not OPEN:
                    self._telemetry.admitted("admitted")
                return grant
        except NotAdmitted as refusal:
            refused, invitation, text = answer(refusal), refusal.invitation, str(refusal)
            if isinstance(refusal, BadCredentials):
                self._budgets.spend(site_of(source), time.monotonic())
        self._telemetry.admitted(refused.reason)
        self._telemetry.refused(refused.reason, source, tenant_id, invitation)
        await connection.deny(refused.status, text, refused.headers)
        return None

    def _may_not_be_looked_at(self, token: str, source: str) -> bool:
        return self._budgets.is_spent(site_of(source), time.monotonic()) and not self._admission.remembers(token)


def answer(refusal: NotAdmitted) -> Answer:
    if isinstance(refusal, NotCheckable):
        return Answer("token not checkable", 503, {"retry-after": str(refusal.retry_after)})
    return _ANSWERS[type(refusal)]


def bearer_token(headers: Headers) -> str | None:
    """The token that a request has; None if it has none. Raises BadCredentials if it has several."""
    given = [value for name, value in headers if name == b"authorization"]
    if not given:
        return None
    if len(given) > 1:
        raise BadCredentials("Authorization is given once")
    scheme, _, token = given[0].decode("latin-1").partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None
