"""What all AdmissionRecords promise."""

import asyncio
from abc import ABC, abstractmethod

import anyio
import pytest

from tests.builders import ACME, a_key
from tests.grants import KEY_REVOKED, NOW, OFTEN, ONCE, REVOKED, TWICE
from wg_orchestrator.domain.admission import Admitted, InvitationUse, Revocation, RevocationId
from wg_orchestrator.domain.errors import UsedUp
from wg_orchestrator.domain.ports import AdmissionRecords
from wg_orchestrator.domain.receipt import Report


class AdmissionRecordsContract(ABC):
    """Subclass it as `Test…` and supply the fixtures: `records`, and `others`, the same on another node, or again the
    same one.
    """

    @pytest.fixture
    @abstractmethod
    def records(self) -> AdmissionRecords: ...

    @pytest.fixture
    @abstractmethod
    def others(self) -> AdmissionRecords: ...

    async def test_they_are_ready_and_know_nothing(self, records: AdmissionRecords) -> None:
        assert records.is_ready()
        assert not await records.has_admitted(ONCE.invitation)
        assert await records.reports(REVOKED.id) == []

    async def test_a_use_is_one_keys(self, records: AdmissionRecords, others: AdmissionRecords) -> None:
        assert await records.take(ONCE, ACME, a_key(1), NOW) == Admitted(NOW, is_settled=False)
        with pytest.raises(UsedUp):
            await others.take(ONCE, ACME, a_key(2), NOW)
        await records.settle(ONCE, ACME, a_key(1))
        assert await others.take(ONCE, ACME, a_key(1), NOW + 30) == Admitted(NOW)
        assert await records.take(ONCE, ACME, a_key(1), NOW + 1000) == Admitted(NOW), "it has expired for others"
        with pytest.raises(UsedUp):
            await records.take(ONCE, ACME, a_key(2), NOW)
        assert await others.has_admitted(ONCE.invitation)

    async def test_a_use_that_was_given_back_is_free(self, records: AdmissionRecords, others: AdmissionRecords) -> None:
        await records.take(ONCE, ACME, a_key(1), NOW)
        await records.give_back(ONCE, ACME, a_key(1))
        assert not await others.has_admitted(ONCE.invitation)
        assert await others.take(ONCE, ACME, a_key(2), NOW) == Admitted(NOW, is_settled=False)
        await others.settle(ONCE, ACME, a_key(2))
        with pytest.raises(UsedUp):
            await records.take(ONCE, ACME, a_key(1), NOW)

    async def test_a_use_is_kept_while_another_join_of_its_key_is_under_way(
        self, records: AdmissionRecords, others: AdmissionRecords
    ) -> None:
        await records.take(ONCE, ACME, a_key(1), NOW)
        assert await others.take(ONCE, ACME, a_key(1), NOW + 1) == Admitted(NOW, is_settled=False)
        await records.give_back(ONCE, ACME, a_key(1))
        with pytest.raises(UsedUp):
            await records.take(ONCE, ACME, a_key(2), NOW)
        await others.settle(ONCE, ACME, a_key(1))
        with pytest.raises(UsedUp):
            await records.take(ONCE, ACME, a_key(2), NOW)

    async def test_who_was_welcomed_keeps_its_use_if_another_join_of_its_key_fails(
        self, records: AdmissionRecords, others: AdmissionRecords
    ) -> None:
        await records.take(ONCE, ACME, a_key(1), NOW)
        await others.take(ONCE, ACME, a_key(1), NOW)
        await records.settle(ONCE, ACME, a_key(1))
        await others.give_back(ONCE, ACME, a_key(1))
        assert await others.take(ONCE, ACME, a_key(1), NOW) == Admitted(NOW)
        with pytest.raises(UsedUp):
            await others.take(ONCE, ACME, a_key(2), NOW)

    async def test_of_many_who_ask_at_once_as_many_come_in_as_may(
        self, records: AdmissionRecords, others: AdmissionRecords
    ) -> None:
        asked = [(records, others)[n % 2].take(TWICE, ACME, a_key(n), NOW) for n in range(1, 21)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(answer == Admitted(NOW, is_settled=False) for answer in answers) == 2
        assert sum(isinstance(answer, UsedUp) for answer in answers) == 18

    async def test_any_number_comes_in_by_an_invitation_without_uses_until_it_expires(
        self, records: AdmissionRecords, others: AdmissionRecords
    ) -> None:
        for number in range(1, 6):
            assert await records.take(OFTEN, ACME, a_key(number), NOW) == Admitted(NOW)
        with pytest.raises(UsedUp):
            await others.take(OFTEN, ACME, a_key(6), NOW + 60)
        assert await others.take(OFTEN, ACME, a_key(5), NOW + 60) == Admitted(NOW)

    async def test_uses_of_one_invitation_are_not_anothers(self, records: AdmissionRecords) -> None:
        await records.take(ONCE, ACME, a_key(1), NOW)
        assert await records.take(TWICE, ACME, a_key(1), NOW + 1) == Admitted(NOW + 1, is_settled=False)

    async def test_invitations_are_known_once_they_are_noted_or_somebody_has_come_by_them(
        self, records: AdmissionRecords, others: AdmissionRecords
    ) -> None:
        assert await records.invitations() == []
        await records.note(ONCE, ACME)
        await records.note(ONCE, ACME)
        for number in (1, 2):
            await records.take(TWICE, ACME, a_key(number), NOW)
            await records.take(OFTEN, ACME, a_key(number), NOW)
        await records.give_back(TWICE, ACME, a_key(2))
        await records.note(OFTEN, ACME)
        assert await others.invitations() == [
            InvitationUse(TWICE.invitation, ACME, None, 2, 1, NOW + 60),
            InvitationUse(OFTEN.invitation, ACME, None, None, 2, NOW + 60),
            InvitationUse(ONCE.invitation, ACME, None, 1, 0, NOW + 60),
        ]

    async def test_revocations_are_told_to_who_follows_and_to_who_begins_to(
        self, records: AdmissionRecords, others: AdmissionRecords
    ) -> None:
        early, late = Followed(), Followed()
        others.follow(early)
        await records.revoke(REVOKED)
        await records.revoke(KEY_REVOKED)
        await early.until({REVOKED.id: REVOKED, KEY_REVOKED.id: KEY_REVOKED})
        others.follow(late)
        assert late.known == early.known
        assert await records.withdraw(REVOKED.id)
        assert not await records.withdraw(RevocationId("none"))
        await early.until({KEY_REVOKED.id: KEY_REVOKED})
        await late.until({KEY_REVOKED.id: KEY_REVOKED})

    async def test_the_last_report_of_each_node_is_kept(
        self, records: AdmissionRecords, others: AdmissionRecords
    ) -> None:
        await records.revoke(REVOKED)
        for report in (Report("a", 1, 5, 0, None), Report("b.c", 0, 2, 2, NOW), Report("a", 1, 5, 5, NOW + 1)):
            await records.report(REVOKED.id, report)
        found = await others.reports(REVOKED.id)
        assert sorted(found, key=lambda report: report.node) == [
            Report("a", 1, 5, 5, NOW + 1),
            Report("b.c", 0, 2, 2, NOW),
        ]


class Followed:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.known: dict[RevocationId, Revocation] = {}
        self._changed = asyncio.Event()

    def __call__(self, revocation_id: RevocationId, revocation: Revocation | None) -> None:
        if revocation is None:
            del self.known[revocation_id]
        else:
            self.known[revocation_id] = revocation
        self._changed.set()

    async def until(self, expected: dict[RevocationId, Revocation]) -> None:
        """Return when that is what there is."""
        with anyio.fail_after(30):
            while self.known != expected:
                self._changed.clear()
                await self._changed.wait()
