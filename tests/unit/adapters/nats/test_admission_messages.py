import json
from typing import Any

import pytest

from tests.builders import ACME, a_key, a_peer
from tests.grants import KEY_REVOKED, NOW, REVOKED
from wg_orchestrator.adapters.nats import admission_messages as messages
from wg_orchestrator.adapters.nats.claim import Claim, ClaimReader, encode
from wg_orchestrator.adapters.nats.names import Unreadable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.receipt import Report
from wg_orchestrator.domain.stay import InvitationId, Stay, StayId
from wg_orchestrator.domain.uses import Use
from wg_orchestrator.settings.values import as_network

NETWORK: Network = as_network("100.64.0.0/10")


@pytest.mark.parametrize("revocation", [REVOKED, KEY_REVOKED])
def test_a_revocation_is_read_as_it_was_written(revocation: Any) -> None:
    assert messages.read_revocation(revocation.id, messages.encode_revocation(revocation)) == revocation
    assert messages.read_revocation(revocation.id, b"") is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"at": 1}, {"at": "1", "invitation": "x"}, {"at": 1, "invitation": "a b"}, {"at": 1, "key": "x"},
     {"at": 1, "key": 5}, {"at": 1, "invitation": "x", "until": "soon"}, {"at": 1, "key": a_key(1).text, "tenant": ""}],
    ids=str,
)  # fmt: skip
def test_what_is_no_revocation_is_unreadable(fields: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        messages.read_revocation("x", json.dumps(fields).encode())


def test_a_use_is_read_as_it_was_written() -> None:
    use = Use(NOW, pending=2, is_settled=True)
    assert messages.read_use(7, messages.encode_use(use, "me")) == messages.Stored(7, use, "me")
    assert messages.read_use(7, b"") == messages.Stored(7)


@pytest.mark.parametrize(
    "payload", [b"x", b"[]", b"{}", b'{"since":1,"pending":true,"settled":true,"by":""}', b"[" * 9999]
)
def test_what_is_no_use_is_unreadable(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        messages.read_use(1, payload)


@pytest.mark.parametrize("report", [Report("a", 1, 3, 2, None), Report("b.c", 0, 2, 2, NOW)])
def test_a_report_is_read_as_it_was_written_and_what_is_none_is_passed_over(report: Report) -> None:
    assert messages.read_report(messages.encode_report(report)) == report
    for payload in (b"", b"[]", b'{"put_out":1}', b'{"put_out":"1","of":1,"by":1,"since":1,"node":"a"}'):
        assert messages.read_report(payload) is None


def test_a_claim_says_by_which_invitation_its_peer_came_and_until_when() -> None:
    reader = ClaimReader(NETWORK)
    stay = Stay(StayId("a-1"), ACME, a_peer(1), invitation=InvitationId("x.y"), until=NOW)
    claim = Claim(stay, "a-2", 5)
    assert reader.read("acme", "100-64-0-1", encode(claim), 5) == claim
    vacated = claim.ending(LeaveCause.REVOKED).vacated()
    read = reader.read("acme", "100-64-0-1", encode(vacated), 6)
    assert (read.cause, read.stay.invitation, read.stay.until) == (LeaveCause.REVOKED, "", None)


@pytest.mark.parametrize("cause", LeaveCause)
def test_a_vacated_claim_says_why_its_stay_ended(cause: LeaveCause) -> None:
    vacated = Claim(Stay(StayId("a-1"), ACME, a_peer(1)), "a-2", 5).ending(cause).vacated()
    assert ClaimReader(NETWORK).read("acme", "100-64-0-1", encode(vacated), 6).cause is cause


def test_to_a_node_that_knows_no_grace_a_peer_that_did_not_come_back_has_left() -> None:
    vacated = Claim(Stay(StayId("a-1"), ACME, a_peer(1)), "a-2", 5).ending(LeaveCause.GRACE).vacated()
    assert "cause" not in json.loads(encode(vacated))


@pytest.mark.parametrize("cause", LeaveCause)
def test_a_claim_of_a_key_that_is_out_ends_any_stay_of_that_key(cause: LeaveCause) -> None:
    """Whoever's it is: also one that the sender has not known."""
    held = Claim(Stay(StayId("a-1"), ACME, a_peer(1)), "a-2", 5)
    gone = Claim(Stay(StayId(""), ACME, a_peer(1)), "", 6, cause)
    assert gone.ends(held) == (cause not in (LeaveCause.LEFT, LeaveCause.GRACE, LeaveCause.LOST))
