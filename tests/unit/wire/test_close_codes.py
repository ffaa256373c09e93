import pytest

from wg_orchestrator.domain.errors import InvalidTenantId, MembershipError, TenantFull
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.frames import close_frame
from wg_orchestrator.wire import close_codes
from wg_orchestrator.wire.close_codes import REFUSALS

_NOT_LIKE_THIS = ("bad", "malformed", "superseded", "revoked")


def kinds(error: type[MembershipError]) -> set[type[MembershipError]]:
    return {error}.union(*map(kinds, error.__subclasses__()))


def test_every_refusal_of_the_core_has_a_close_code() -> None:
    raised_before_the_handshake, never_raised_itself = InvalidTenantId, {MembershipError, TenantFull}
    assert set(REFUSALS) == kinds(MembershipError) - never_raised_itself - {raised_before_the_handshake}


@pytest.mark.parametrize("reason", [value for value in vars(close_codes).values() if isinstance(value, Close)])
def test_every_close_fits_a_frame_and_its_code_says_whether_to_try_again(reason: Close) -> None:
    assert close_frame(reason.code, reason.reason)
    assert reason.code < 4000 or (reason.code >= 4500) == (reason.reason.startswith(_NOT_LIKE_THIS))
