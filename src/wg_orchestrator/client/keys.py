import base64
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A WireGuard key pair in `wg`'s own text form: base64 of 32 bytes (Curve25519, RFC 7748)."""

    private: str = field(repr=False)
    public: str

    @classmethod
    def generate(cls) -> "KeyPair":
        return cls._of(X25519PrivateKey.generate())

    @classmethod
    def of(cls, private: str) -> "KeyPair":
        """The pair with this private key. Raises ValueError if it is none."""
        return cls._of(X25519PrivateKey.from_private_bytes(base64.b64decode(private, validate=True)))

    @classmethod
    def _of(cls, key: X25519PrivateKey) -> "KeyPair":
        return cls(
            private=base64.b64encode(key.private_bytes_raw()).decode(),
            public=base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        )
