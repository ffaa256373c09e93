from pathlib import Path

import pytest

from harness.certificates import write_certificate
from harness.nats_server import NatsServer
from tests.builders import a_peer, a_stay_in
from tests.integration.nats.nodes import NETWORK, Node, running
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository
from wg_orchestrator.domain.events import PeerJoined


async def test_tls_both_ways_and_a_password(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "both ends")
    server = NatsServer(
        tmp_path / "nats",
        extra=f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{certificate}", verify: true }}\n'
        'authorization { user: "wg", password: "secret" }',
    )
    server.start()
    try:
        url = server.url.replace("nats://", "tls://wg:secret@")
        node = Node(server, "secure")
        node.tenants = NatsTenantRepository(
            NETWORK,
            9,
            ConnectionOptions((url,), tls_ca=certificate, tls_certificate=certificate, tls_key=key),
            StreamOptions("secure", str(NETWORK)),
            node.telemetry,
        )
        async with running(node):
            await node.tenants.commit(PeerJoined(a_stay_in(node.tenants, a_peer(1))))
            assert node.tenants.count() == 1
    finally:
        server.kill()


async def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, extra='authorization { user: "wg", password: "secret" }')
    server.start()
    connection = Connection(ConnectionOptions((server.url.replace("nats://", "nats://wg:wrong@"),)))
    try:
        with pytest.raises(NotHeard, match=r"can't connect: .*[Aa]uthorization"):
            await connection.connect()
    finally:
        await connection.close()
        server.kill()
