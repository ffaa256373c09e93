"""What can go wrong, as one tree:

MembershipError              the request can't be granted; nothing has changed
 ├── InvalidTenantId
 ├── InvalidDisplayName
 ├── InvalidPublicKey
 ├── KeyInUse
 ├── NotProven
 ├── TenantFull
 │    ├── NoAddressLeft
 │    └── PeerLimitReached
 ├── TenantLimitReached
 └── Unavailable
InvalidEndpoint              a text is no endpoint: the message that it came in is malformed
Conflict                     between nodes: somebody else was first, decide again
"""


class MembershipError(Exception):
    """A request that the membership rules refuse."""


class InvalidTenantId(MembershipError):
    """A tenant id is 1 to 64 characters of `A-Z a-z 0-9 . _ ~ -`."""


class InvalidDisplayName(MembershipError):
    """A display name is 1 to 128 code points after NFC, none of them invisible or a line break."""


class InvalidPublicKey(MembershipError):
    """A public key is the one canonical base64 spelling of 32 bytes that X25519 can use."""


class KeyInUse(MembershipError):
    """The public key is live in this tenant; the peer that holds it stays."""


class NotProven(MembershipError):
    """It was not shown in time that the public key is the newcomer's own."""


class TenantFull(MembershipError):
    """The tenant can't take another peer now."""


class NoAddressLeft(TenantFull):
    """Every address of the network is held."""


class PeerLimitReached(TenantFull):
    """The tenant holds as many peers as it may."""


class TenantLimitReached(MembershipError):
    """The service holds as many tenants as it may."""


class Unavailable(MembershipError):
    """Nothing can be committed now, or it was not heard in time whether it was: what was then is undone."""


class InvalidEndpoint(Exception):
    """An endpoint is an IP address and a port: `10.0.0.7:51820`, `[fd00:1::7]:51820`."""


class Conflict(Exception):
    """An event contradicts what its tenant holds by now: the address or the key is taken, or the peer is gone."""
