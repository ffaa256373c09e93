"""Invitations, as they are written: JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 8037)."""

AUDIENCE = "wg-orchestrator"
ALGORITHM = "EdDSA"
TYPE = "JWT"
MAX_USES = 1_000_000
MAX_STAY = 100 * 366 * 86_400
"""Seconds."""
