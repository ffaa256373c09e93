from collections.abc import AsyncIterator

import pytest

from harness.nats_server import NatsServer
from tests.contracts.tenant_repository import TenantRepositoryContract
from tests.integration.nats.nodes import Node, a_stream, running
from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository


class TestNatsTenantRepository(TenantRepositoryContract):
    @pytest.fixture
    async def repository(self, server: NatsServer) -> AsyncIterator[NatsTenantRepository]:
        node = Node(server, a_stream(), self.MAX_PEERS)
        async with running(node):
            yield node.tenants
