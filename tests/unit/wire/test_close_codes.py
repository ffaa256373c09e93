import pytest

from wg_orchestrator.domain.errors import InvalidTenantId, MembershipError, TenantFull
from wg_orchestrator.rfc6455.close import Close
from wg_orchestrator.rfc6455.frames import close_frame
from wg_orchestrator.wire import close_codes
from wg_orchestrator.wire.close_codes import REFUSALS, in_v1

_NOT_LIKE_THIS = ("bad", "malformed", "superseded", "revoked", "used up", "stay over", "put out")


V1_SAYS_1008 = {"revoked", "used up", "stay over", "put out"}


def test_v1_has_one_code_for_all_that_admission_refuses() -> None:
    closes = [value for value in vars(close_codes).values() if isinstance(value, Close)]
    changed = {close.reason: in_v1(close) for close in closes if in_v1(close) != close}
    assert changed == {reason: Close(1008, reason) for reason in V1_SAYS_1008}


def kinds(error: type[MembershipError]) -> set[type[MembershipError]]:
    return {error}.union(*map(kinds, error.__subclasses__()))


def test_every_refusal_of_the_core_has_a_close_code() -> None:
    raised_before_the_handshake, never_raised_itself = InvalidTenantId, {MembershipError, TenantFull}
    assert set(REFUSALS) == kinds(MembershipError) - never_raised_itself - {raised_before_the_handshake}


@pytest.mark.parametrize("reason", [value for value in vars(close_codes).values() if isinstance(value, Close)])
def test_every_close_fits_a_frame_and_its_code_says_whether_to_try_again(reason: Close) -> None:
    assert close_frame(reason.code, reason.reason)
    assert reason.code < 4000 or (reason.code >= 4500) == (reason.reason.startswith(_NOT_LIKE_THIS))
