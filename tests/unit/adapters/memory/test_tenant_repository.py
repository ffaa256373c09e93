import pytest

from tests.contracts.tenant_repository import TenantRepositoryContract
from wg_orchestrator.adapters.memory.tenant_repository import InMemoryTenantRepository


class TestInMemoryTenantRepository(TenantRepositoryContract):
    @pytest.fixture
    def repository(self) -> InMemoryTenantRepository:
        return InMemoryTenantRepository(self.NETWORK, self.MAX_PEERS)
