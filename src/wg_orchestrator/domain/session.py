import hashlib
import hmac
import secrets
from typing import NewType

SessionDigest = NewType("SessionDigest", bytes)
"""What is kept of a session's secret: enough to know the secret again, and not enough to tell it."""

NO_SESSION = SessionDigest(b"")
"""The digest of a stay that ends with its connection."""

SECRET_BYTES = 24
DIGEST_BYTES = 32


def new_session() -> tuple[str, SessionDigest]:
    """A secret of 192 bits that nobody can guess, in 32 characters of base64url, and what is kept of it."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return secret, digest(secret)


def digest(secret: str) -> SessionDigest:
    """The SHA-256 digest of a secret. A secret is random, so nobody finds it by trying."""
    return SessionDigest(hashlib.sha256(secret.encode(errors="surrogatepass")).digest())


def opens(secret: str, session: SessionDigest) -> bool:
    """Whether this is the session's secret, compared in constant time. Nothing opens NO_SESSION."""
    return hmac.compare_digest(digest(secret), session)
