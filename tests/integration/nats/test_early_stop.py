"""A node that is stopped while it starts."""

import asyncio

import pytest
from structlog.testing import capture_logs

from harness.nats_server import NatsServer
from tests.integration.nats.nodes import Node, a_stream


@pytest.mark.parametrize("milliseconds", range(0, 20, 4))
async def test_a_node_may_be_stopped_at_any_moment_of_its_start(server: NatsServer, milliseconds: int) -> None:
    """The node ends its feed before its connection, so the feed logs no error."""
    for turns in range(20):
        node = Node(server, a_stream())
        with capture_logs() as lines:
            async with node.tenants.running():
                await asyncio.sleep(milliseconds / 1000)
                for _ in range(turns):
                    await asyncio.sleep(0)
        assert [line["event"] for line in lines if line["event"].startswith("feed")] == []
