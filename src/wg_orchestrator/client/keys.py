import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A WireGuard key pair in `wg`'s own text form: base64 of 32 bytes (Curve25519, RFC 7748)."""

    private: str
    public: str

    @classmethod
    def generate(cls) -> "KeyPair":
        key = X25519PrivateKey.generate()
        return cls(
            private=base64.b64encode(key.private_bytes_raw()).decode(),
            public=base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        )
