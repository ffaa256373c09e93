"""Keys that sign invitations, and invitations with whatever is to be in them."""

import base64
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def segment(part: bytes) -> bytes:
    """A part of a token: base64url without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def as_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Inviter:
    """A key, and the tokens that it signs."""

    def __init__(self, key_id: str = "key-1") -> None:
        self.key = Ed25519PrivateKey.generate()
        self.key_id = key_id
        self._count = 0

    @property
    def x(self) -> str:
        return segment(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def jwk(self) -> dict[str, Any]:
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.key_id, "x": self.x, "alg": "EdDSA"}

    def write_keys(self, file: Path, *others: "Inviter") -> Path:
        """Write the public keys of this one and the others to the file, as `serve` reads them."""
        file.write_text(json.dumps({"keys": [one.jwk() for one in (self, *others)]}))
        return file

    def header(self, **changes: Any) -> dict[str, Any]:
        """`None` leaves a field out."""
        return _without_none({"alg": "EdDSA", "typ": "JWT", "kid": self.key_id, **changes})

    def claims(self, **changes: Any) -> dict[str, Any]:
        """`None` leaves a claim out."""
        self._count += 1
        now = int(time.time())
        usual = {"tenant": "acme", "jti": f"{self.key_id}-{self._count}", "iat": now, "exp": now + 3600}
        return _without_none({**usual, "aud": "wg-orchestrator", **changes})

    def sign(self, header: bytes, payload: bytes) -> str:
        """A token of these two parts, whatever they are."""
        signed = segment(header) + b"." + segment(payload)
        return (signed + b"." + segment(self.key.sign(signed))).decode()

    def token(self, **claims: Any) -> str:
        """A good token, but for what is changed."""
        return self.sign(as_json(self.header()), as_json(self.claims(**claims)))


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}
