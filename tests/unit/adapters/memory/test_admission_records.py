import pytest

from tests.contracts.admission_records import AdmissionRecordsContract
from wg_orchestrator.adapters.memory.admission_records import InMemoryAdmissionRecords


class TestInMemoryAdmissionRecords(AdmissionRecordsContract):
    @pytest.fixture
    def records(self) -> InMemoryAdmissionRecords:
        return InMemoryAdmissionRecords()

    @pytest.fixture
    def others(self, records: InMemoryAdmissionRecords) -> InMemoryAdmissionRecords:
        return records


def test_they_do_not_last() -> None:
    assert not InMemoryAdmissionRecords.are_lasting
