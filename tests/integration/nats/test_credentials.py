"""A NATS server that checks its users by JWTs. The tests make these themselves, as the tool `nsc` would."""

import base64
import binascii
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.nats_server import NatsServer
from tests.builders import a_peer, a_stay_in
from tests.integration.nats.nodes import NETWORK, Node, running
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard
from wg_orchestrator.adapters.nats.stream_settings import StreamOptions
from wg_orchestrator.adapters.nats.tenant_repository import NatsTenantRepository
from wg_orchestrator.domain.events import PeerJoined

SEED = 18 << 3
ANY = -1


class Identity:
    """A key pair in NATS's own spelling: the kind, the key and a checksum, in base32."""

    def __init__(self, kind: str) -> None:
        self._prefix = {"operator": 14, "account": 0, "user": 20}[kind] << 3
        self._key = Ed25519PrivateKey.generate()
        self.public = _spelled(bytes([self._prefix]) + self._key.public_key().public_bytes_raw())
        first = bytes([SEED | self._prefix >> 5, (self._prefix & 31) << 3])
        self.seed = _spelled(first + self._key.private_bytes_raw())
        self._kind = kind

    def certify(self, other: "Identity", **claims: Any) -> str:
        """A JWT for `other` with these claims, signed by this identity."""
        nats = {"type": other._kind, "version": 2, **claims}
        body = {"jti": other.public, "iat": 1, "iss": self.public, "sub": other.public, "name": "test", "nats": nats}
        text = ".".join(_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return f"{text}.{_base64(self._key.sign(text.encode()))}"


def _spelled(data: bytes) -> str:
    checksum = binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data + checksum).decode().rstrip("=")


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def a_credentials_file(path: Path, account: Identity) -> Path:
    user = Identity("user")
    jwt = account.certify(user, subs=ANY, data=ANY, payload=ANY)
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    return path


async def test_a_node_connects_with_a_credentials_file_of_a_known_account_only(tmp_path: Path) -> None:
    operator, account, system = Identity("operator"), Identity("account"), Identity("account")
    of_any = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), ANY)
    storage = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), ANY)
    accounts = {
        account.public: operator.certify(account, limits={**of_any, **storage, "wildcards": True}),
        system.public: operator.certify(system, limits={**of_any, "wildcards": True}),
    }
    preload = ", ".join(f"{public}: {jwt}" for public, jwt in accounts.items())
    server = NatsServer(
        tmp_path / "nats",
        extra=f"operator: {operator.certify(operator)}\nsystem_account: {system.public}\n"
        f"resolver: MEMORY\nresolver_preload: {{ {preload} }}",
    )
    server.start()
    try:
        credentials = a_credentials_file(tmp_path / "user.creds", account)
        node = Node(server, "secure")
        node.tenants = NatsTenantRepository(
            NETWORK,
            9,
            ConnectionOptions((server.url,), credentials=credentials),
            StreamOptions("secure", str(NETWORK)),
            node.telemetry,
        )
        async with running(node):
            await node.tenants.commit(PeerJoined(a_stay_in(node.tenants, a_peer(1))))
            assert node.tenants.count() == 1
        stranger = a_credentials_file(tmp_path / "stranger.creds", Identity("account"))
        with pytest.raises(NotHeard, match=r"can't connect: .*[Aa]uthorization"):
            await Connection(ConnectionOptions((server.url,), credentials=stranger)).connect()
    finally:
        server.kill()


async def test_a_file_without_credentials_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "user.creds").write_text("-----BEGIN NATS USER JWT-----\neyJ\n------END NATS USER JWT------\n")
    with pytest.raises(NotHeard, match=r"can't connect: .*user\.creds has no JWT and key of a NATS user"):
        await Connection(ConnectionOptions(("nats://127.0.0.1:1",), credentials=tmp_path / "user.creds")).connect()
