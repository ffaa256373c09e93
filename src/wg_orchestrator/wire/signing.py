"""The keys that sign invitations, and the invitations."""

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from secrets import token_hex
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from wg_orchestrator.domain.peer import DisplayName
from wg_orchestrator.domain.tenant_id import TenantId
from wg_orchestrator.wire.invitation import ALGORITHM, AUDIENCE, TYPE

_LARGEST_FILE = 65_536


class BadKey(Exception):
    """A file has no private key in it that can be used. Says why, without the key."""


def make_key(file: Path) -> str:
    """Write a new private key to the file and the set of its public key beside it, and return its id.

    Raises OSError, also if one of them is there already; then neither is written.
    """
    key = Ed25519PrivateKey.generate()
    public = file.with_name(f"{file.name}.pub")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_set = json.dumps({"keys": [_public_jwk(key)]}, indent=2) + "\n"
    _write(file, pem, 0o600)
    try:
        _write(public, key_set.encode(), 0o644)
    except BaseException:
        file.unlink()
        raise
    return key_id(key)


def read_key(file: Path) -> Ed25519PrivateKey:
    """Raises OSError or BadKey."""
    with file.open("rb") as opened:
        if os.fstat(opened.fileno()).st_mode & 0o077:
            raise BadKey("it is open to others: chmod 600")
        pem = opened.read(_LARGEST_FILE)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey("no private key without a password in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey("it is not of Ed25519")
    return key


def sign(
    key: Ed25519PrivateKey,
    tenant_id: TenantId,
    display_name: DisplayName | None,
    uses: int | None,
    expires: int,
    stay: int | None,
) -> tuple[str, str]:
    """The id of a new invitation, and its token. `expires` and `stay` are in seconds from now, and from a key's first
    welcome.
    """
    now, invitation = int(time.time()), token_hex(8)
    claims: dict[str, Any] = {"tenant": tenant_id, "jti": invitation, "iat": now, "exp": now + expires, "aud": AUDIENCE}
    optional = {"name": display_name, "uses": uses, "stay": stay}
    claims.update({name: value for name, value in optional.items() if value is not None})
    return invitation, jwt.encode(claims, key, ALGORITHM, {"kid": key_id(key), "typ": TYPE})


def key_id(key: Ed25519PrivateKey) -> str:
    """The thumbprint of the public key (RFC 7638, RFC 8037 appendix A.3)."""
    thumbed = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": _x(key)}, separators=(",", ":"))
    return _base64url(hashlib.sha256(thumbed.encode()).digest())


def _public_jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "kid": key_id(key), "x": _x(key), "alg": ALGORITHM}


def _x(key: Ed25519PrivateKey) -> str:
    return _base64url(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _write(file: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
    except BaseException:
        file.unlink()
        raise
