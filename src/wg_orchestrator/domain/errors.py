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
 ├── Revoked
 ├── UsedUp
 ├── StayOver
 └── Unavailable
NotAdmitted                  the credentials do not let in whoever has shown them
 ├── NoCredentials
 ├── BadCredentials
 ├── NotForThisTenant
 └── NotCheckable            now; later they may be
InvalidInvitationId          a text is no invitation's id
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


class Revoked(MembershipError):
    """The key, or the invitation that it came by, is revoked."""


class UsedUp(MembershipError):
    """As many keys as may have come in by this invitation, or it has expired, and this key is none of them."""


class StayOver(MembershipError):
    """The key has been in by this invitation for as long as it may."""


class Unavailable(MembershipError):
    """Nothing can be committed now, or it was not heard in time whether it was: what was then is undone."""


class NotAdmitted(Exception):
    """The text may be shown to whoever has shown the credentials. It has nothing of them in it."""

    invitation = ""
    """The id of the invitation that was shown, if it is known."""


class NoCredentials(NotAdmitted):
    """Credentials are asked for, and there are none."""


class BadCredentials(NotAdmitted):
    """The credentials are not good, any more or yet."""


class NotForThisTenant(NotAdmitted):
    """The credentials are good, but not for this tenant."""


class NotCheckable(NotAdmitted):
    """The credentials can't be checked now."""

    def __init__(self, text: str, retry_after: int) -> None:
        """`retry_after`: seconds until it is worth trying again."""
        super().__init__(text)
        self.retry_after = retry_after


class InvalidInvitationId(ValueError):
    """An invitation's id is 1 to 128 characters of `A-Z a-z 0-9 . _ ~ -`."""


class InvalidEndpoint(Exception):
    """An endpoint is an IP address and a port: `10.0.0.7:51820`, `[fd00:1::7]:51820`."""


class Conflict(Exception):
    """An event contradicts what its tenant holds by now: the address or the key is taken, or the peer is gone."""
