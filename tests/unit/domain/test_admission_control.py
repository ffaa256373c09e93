"""Who may come in by what was granted, and who may not be in any more."""

from dataclasses import replace

import pytest

from tests.builders import ACME, GLOBEX, a_key, a_newcomer, a_peer, at_once
from tests.grants import KEY_REVOKED, NOW, ONCE, REVOKED, TWICE
from wg_orchestrator.adapters.memory.admission_records import InMemoryAdmissionRecords
from wg_orchestrator.domain.admission import OPEN, Admitted, Grant, Revocation, RevocationId, Revocations
from wg_orchestrator.domain.admission_control import AdmissionControl
from wg_orchestrator.domain.errors import Revoked, StayOver, Unavailable, UsedUp
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.peer import DisplayName, PublicKey
from wg_orchestrator.domain.stay import InvitationId, Stay, StayId
from wg_orchestrator.domain.tenant_id import TenantId


class Clock:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


class RevokingRecords(InMemoryAdmissionRecords):
    """Something is revoked while a use is taken."""

    async def take(self, grant: Grant, tenant_id: TenantId, key: PublicKey, now: int) -> Admitted:
        admitted = await super().take(grant, tenant_id, key, now)
        await self.revoke(REVOKED)
        return admitted


def control(records: InMemoryAdmissionRecords | None = None, clock: Clock | None = None) -> AdmissionControl:
    return AdmissionControl(records or InMemoryAdmissionRecords(), clock or Clock())


def test_who_is_granted_nothing_in_particular_comes_in_as_it_is() -> None:
    newcomer = a_newcomer(1)
    assert at_once(control().enter(OPEN, ACME, newcomer)) == (newcomer, False)


def test_a_newcomer_gets_the_name_the_invitation_and_the_end_that_it_was_granted() -> None:
    grant = replace(ONCE, display_name=DisplayName("printer"), stay=50)
    newcomer, takes_use = at_once(control().enter(grant, ACME, a_newcomer(1)))
    assert (newcomer.display_name, newcomer.invitation, newcomer.until) == ("printer", "once", NOW + 50)
    assert takes_use


def test_a_stay_counts_from_the_first_admission() -> None:
    records, clock = InMemoryAdmissionRecords(), Clock()
    grant, asked = replace(TWICE, stay=50), control(records, clock)
    at_once(asked.enter(grant, ACME, a_newcomer(1)))
    at_once(asked.settle(grant, ACME, a_newcomer(1)))
    clock.now += 40
    newcomer, takes_use = at_once(asked.enter(grant, ACME, a_newcomer(1)))
    assert (newcomer.until, takes_use) == (NOW + 50, False)
    clock.now += 10
    with pytest.raises(StayOver):
        at_once(asked.enter(grant, ACME, a_newcomer(1)))


def test_who_is_revoked_while_a_use_is_taken_is_refused_and_takes_none() -> None:
    records = RevokingRecords()
    with pytest.raises(Revoked):
        at_once(control(records).enter(ONCE, ACME, a_newcomer(1)))
    assert not at_once(records.has_admitted(ONCE.invitation))


def test_who_is_revoked_takes_no_use() -> None:
    records = InMemoryAdmissionRecords()
    asked = control(records)
    at_once(records.revoke(KEY_REVOKED))
    with pytest.raises(Revoked):
        at_once(asked.enter(ONCE, ACME, a_newcomer(1)))
    at_once(asked.enter(ONCE, ACME, a_newcomer(2)))
    with pytest.raises(UsedUp):
        at_once(asked.enter(ONCE, GLOBEX, a_newcomer(1)))


def test_nobody_is_let_in_while_it_is_not_known_what_is_revoked() -> None:
    class Away(InMemoryAdmissionRecords):
        def is_ready(self) -> bool:
            return False

    for grant in (OPEN, ONCE):
        with pytest.raises(Unavailable):
            at_once(control(Away()).enter(grant, ACME, a_newcomer(1)))


def test_why_a_stay_has_to_end() -> None:
    records, clock = InMemoryAdmissionRecords(), Clock()
    asked = control(records, clock)
    stay = Stay(StayId("1"), ACME, a_peer(1), invitation=InvitationId("once"), until=NOW + 50)
    assert asked.end_of(stay) is None
    clock.now += 50
    assert asked.end_of(stay) is LeaveCause.STAY_OVER
    at_once(records.revoke(REVOKED))
    assert asked.end_of(stay) is LeaveCause.REVOKED
    assert asked.end_of(replace(stay, invitation=InvitationId("other"), until=None)) is None
    at_once(records.withdraw(REVOKED.id))
    assert asked.end_of(stay) is LeaveCause.STAY_OVER


def test_a_revocation_is_over_when_its_time_is() -> None:
    records, clock = InMemoryAdmissionRecords(), Clock()
    asked = control(records, clock)
    at_once(records.revoke(KEY_REVOKED))
    stay = Stay(StayId("1"), ACME, a_peer(1))
    assert asked.end_of(stay) is LeaveCause.REVOKED
    assert asked.end_of(replace(stay, tenant_id=GLOBEX)) is None
    clock.now += 5
    assert asked.end_of(stay) is None
    at_once(asked.enter(OPEN, ACME, a_newcomer(1)))


def test_revocations_of_one_thing_are_each_their_own() -> None:
    both = Revocations()
    one, other = Revocation(RevocationId("a"), public_key=a_key(1)), Revocation(RevocationId("b"), public_key=a_key(1))
    both.put(one)
    both.put(other)
    both.remove(one.id)
    assert both.are_against(ACME, a_key(1), InvitationId(""), NOW)
    both.remove(other.id)
    both.remove(other.id)
    assert not both.are_against(ACME, a_key(1), InvitationId(""), NOW)
    assert list(both) == []


def test_what_a_revocation_covers() -> None:
    stay = Stay(StayId("1"), ACME, a_peer(1), invitation=InvitationId("once"))
    assert REVOKED.covers(stay)
    assert KEY_REVOKED.covers(stay)
    assert not KEY_REVOKED.covers(replace(stay, tenant_id=GLOBEX))
    assert not KEY_REVOKED.covers(replace(stay, peer=a_peer(2)))
    assert Revocation(RevocationId("c"), public_key=a_key(1)).covers(replace(stay, tenant_id=GLOBEX))
    # A peer that came by no invitation is not of the empty one.
    assert not Revocation(RevocationId("d"), public_key=a_key(2)).covers(replace(stay, invitation=InvitationId("")))
