"""How credentials come with a handshake, and its answer if they do not let in (RFC 6750, sections 2.1 and 3)."""

from dataclasses import dataclass, field

from wg_orchestrator.domain.errors import (
    BadCredentials,
    NoCredentials,
    NotAdmitted,
    NotCheckable,
    NotForThisTenant,
)
from wg_orchestrator.rfc6455.handshake import Headers


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
