import pytest

from tests.builders import ACME, a_key
from tests.contracts.admission_records import AdmissionRecordsContract
from tests.grants import NOW, OFTEN
from wg_orchestrator.adapters.memory.admission_records import InMemoryAdmissionRecords
from wg_orchestrator.domain.admission import Admitted
from wg_orchestrator.domain.errors import UsedUp


class TestInMemoryAdmissionRecords(AdmissionRecordsContract):
    @pytest.fixture
    def records(self) -> InMemoryAdmissionRecords:
        return InMemoryAdmissionRecords()

    @pytest.fixture
    def others(self, records: InMemoryAdmissionRecords) -> InMemoryAdmissionRecords:
        return records


async def test_of_too_many_keys_the_oldest_are_forgotten() -> None:
    records = InMemoryAdmissionRecords(most=3)
    for number in range(1, 6):
        await records.take(OFTEN, ACME, a_key(number), NOW)
    late = NOW + 60
    for number in (3, 4, 5):
        assert await records.take(OFTEN, ACME, a_key(number), late) == Admitted(NOW)
    with pytest.raises(UsedUp):
        await records.take(OFTEN, ACME, a_key(2), late)


def test_they_do_not_last() -> None:
    assert not InMemoryAdmissionRecords.are_lasting
