"""The same as without NATS, with peers that come back to any of two nodes."""

import pytest

from harness.nats_server import NatsServer
from tests.integration.nats.test_sessions import two_nodes
from tests.integration.session_storm import storm
from tests.integration.test_session_pictures import _SEEDS, _STEPS


@pytest.mark.parametrize("seed", _SEEDS)
async def test_every_picture_is_the_truth_on_both_nodes(server: NatsServer, seed: int) -> None:
    options = {"update_interval": 0.01, "network": "10.0.0.0/26", "ping_interval": 60, "grace": 60}
    async with two_nodes(server, **options) as nodes:
        await storm(nodes, seed, _STEPS)
