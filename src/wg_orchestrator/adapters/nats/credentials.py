import base64
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_BLOCK = re.compile(r"-{3,}BEGIN ([^-]+)-{3,}\s+(\S+)\s+-{3,}END [^-]+-{3,}")


class BadCredentials(ValueError):
    """The file is not one that `nsc` writes for a user."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's JWT, and the key that proves that the JWT is the user's. The client library's own support would need two
    more packages.
    """

    jwt: str
    key: Ed25519PrivateKey

    @classmethod
    def read(cls, path: Path) -> "Credentials":
        """Raises BadCredentials or OSError."""
        blocks = dict(_BLOCK.findall(path.read_text()))
        try:
            # Before the key are two bytes that say what it is; after it are two bytes of checksum.
            seed = base64.b32decode(blocks["USER NKEY SEED"] + "======")[2:34]
            return cls(blocks["NATS USER JWT"], Ed25519PrivateKey.from_private_bytes(seed))
        except (KeyError, ValueError) as error:
            raise BadCredentials(f"{path} has no JWT and key of a NATS user") from error

    def user_jwt(self) -> bytes:
        return self.jwt.encode()

    def sign(self, nonce: str) -> bytes:
        """The proof that the server asks for, in base64."""
        return base64.b64encode(self.key.sign(nonce.encode()))
