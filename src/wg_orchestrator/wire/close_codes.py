"""The close codes that tell a client why the service ends its connection.

4000 to 4499: the client may try again later. 4500 to 4999: it has to change something first.
"""

from wg_orchestrator.domain import errors
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.rfc6455.close import Close

TEXT_ONLY = Close(1003, "text only")
POLICY = Close(1008, "policy")
TOO_BIG = Close(1009, "too big")
INTERNAL_ERROR = Close(1011, "internal error")
SERVICE_RESTART = Close(1012, "service restart")
TRY_AGAIN_LATER = Close(1013, "try again later")
JOIN_TIMEOUT = Close(4001, "join timeout")
TENANT_FULL = Close(4002, "tenant full")
TOO_SLOW = Close(4003, "too slow")
KEY_IN_USE = Close(4004, "key in use")
AT_CAPACITY = Close(4005, "at capacity")
NOT_PROVEN = Close(4006, "not proven")
MALFORMED_JOIN = Close(4501, "malformed join")
BAD_DISPLAY_NAME = Close(4502, "bad display name")
BAD_PUBLIC_KEY = Close(4503, "bad public key")
MALFORMED_MESSAGE = Close(4504, "malformed message")
SUPERSEDED = Close(4505, "superseded")
REVOKED = Close(4506, "revoked")
USED_UP = Close(4507, "used up")
STAY_OVER = Close(4508, "stay over")
PUT_OUT_BY_OPERATOR = Close(4509, "put out")

FIRST_FINAL = 4500
"""The first of the codes after which a client must not come back by itself."""
NOT_FINAL = PUT_OUT_BY_OPERATOR.code
"""The one of them after which it may."""

REFUSALS: dict[type[errors.MembershipError], Close] = {
    errors.InvalidDisplayName: BAD_DISPLAY_NAME,
    errors.InvalidPublicKey: BAD_PUBLIC_KEY,
    errors.KeyInUse: KEY_IN_USE,
    errors.NotProven: NOT_PROVEN,
    errors.NoAddressLeft: TENANT_FULL,
    errors.PeerLimitReached: TENANT_FULL,
    errors.TenantLimitReached: AT_CAPACITY,
    errors.Revoked: REVOKED,
    errors.UsedUp: USED_UP,
    errors.StayOver: STAY_OVER,
    errors.Unavailable: TRY_AGAIN_LATER,
}

PUT_OUT: dict[LeaveCause, Close] = {
    LeaveCause.LEFT: TRY_AGAIN_LATER,
    LeaveCause.GRACE: TRY_AGAIN_LATER,
    LeaveCause.LOST: TRY_AGAIN_LATER,
    LeaveCause.SUPERSEDED: SUPERSEDED,
    LeaveCause.REVOKED: REVOKED,
    LeaveCause.STAY_OVER: STAY_OVER,
    LeaveCause.PUT_OUT: PUT_OUT_BY_OPERATOR,
}
"""The close for a peer whose stay has ended, for this cause, while its connection is open."""

_NOT_IN_V1 = frozenset({REVOKED, USED_UP, STAY_OVER, PUT_OUT_BY_OPERATOR})


def in_v1(close: Close) -> Close:
    """The same for a peer that speaks protocol v1, which has one code for all policy."""
    return Close(POLICY.code, close.reason) if close in _NOT_IN_V1 else close
