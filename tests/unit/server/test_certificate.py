import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from harness.certificates import trusting, write_certificate
from wg_orchestrator.server.certificate import BadCertificate, Certificate


def subject_served(context: ssl.SSLContext, trusted: ssl.SSLContext) -> str:
    """The subject of the certificate that a server with this context shows, in a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusted.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for _ in range(4):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    shown: Any = client.getpeercert()
    ((_, name),) = shown["subject"][0]
    return str(name)


def test_a_renewed_certificate_is_shown_to_those_who_come_then(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, "first")
    certificate = Certificate(*files)
    assert subject_served(certificate.context, trusting(files[0])) == "first"
    assert not certificate.refresh()
    write_certificate(tmp_path, "second")
    assert certificate.refresh()
    assert subject_served(certificate.context, trusting(files[0])) == "second"
    assert not certificate.refresh()


@pytest.mark.parametrize("damage", ["missing", "half", "other key"])
def test_what_can_not_be_used_leaves_the_former_certificate_in_place(tmp_path: Path, damage: str) -> None:
    files = write_certificate(tmp_path, "first")
    certificate, trusted = Certificate(*files), trusting(files[0])
    former = files[1].read_bytes()
    if damage == "missing":
        files[1].unlink()
    elif damage == "half":
        files[0].write_bytes(files[0].read_bytes()[:200])
    else:
        write_certificate(tmp_path, "second")
        files[1].write_bytes(former)
    with pytest.raises(BadCertificate, match=r"can't use .*cert.pem and .*key.pem: "):
        certificate.refresh()
    assert subject_served(certificate.context, trusted) == "first"
    with pytest.raises(BadCertificate):
        Certificate(*files)


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    assert Certificate(*write_certificate(tmp_path, "x")).context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_nobody_can_have_a_connection_renegotiated(tmp_path: Path) -> None:
    assert Certificate(*write_certificate(tmp_path, "service")).context.options & ssl.OP_NO_RENEGOTIATION


def test_what_is_no_file_of_a_sensible_size_is_refused_and_not_read(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "x")
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 2**40)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, large, tmp_path / "pipe", Path("/dev/zero"), Path("a\0b")):
        for files in ((other, key), (certificate, other)):
            with pytest.raises(BadCertificate, match="can't use "):
                Certificate(*files)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "x")
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(BadCertificate, match="the key is encrypted"):
        Certificate(certificate, key)
