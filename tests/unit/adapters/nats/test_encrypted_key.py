from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from harness.certificates import write_certificate
from wg_orchestrator.adapters.nats.connection import Connection, ConnectionOptions, NotHeard


async def test_nobody_is_asked_for_the_password_of_an_encrypted_key(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "x")
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"secret")
    key.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    options = ConnectionOptions(("nats://127.0.0.1:1",), tls_certificate=certificate, tls_key=key)
    with pytest.raises(NotHeard, match="encrypted"):
        await Connection(options).connect()
