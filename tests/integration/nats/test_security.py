import datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.builders import a_peer, joined
from tests.integration.nats.nodes import NETWORK, Node, running
from tests.nats_server import NatsServer
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.stream import StreamOptions
from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository


def a_certificate(folder: Path) -> tuple[Path, Path]:
    """One that is its own authority, and good for both ends: certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def test_tls_both_ways_and_a_password(tmp_path: Path) -> None:
    certificate, key = a_certificate(tmp_path)
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
        )
        async with running(node):
            await node.tenants.commit(joined(a_peer(1)))
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
