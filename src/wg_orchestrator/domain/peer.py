import binascii
import unicodedata
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NewType, TypeAlias

from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.errors import InvalidDisplayName, InvalidPublicKey

VirtualIP: TypeAlias = IPv4Address | IPv6Address
DisplayName = NewType("DisplayName", str)

MAX_DISPLAY_NAME = 128
# Control, format, surrogate, line separator, paragraph separator: all that could forge a line or hide in one.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_FIELD_PRIME = 2**255 - 19
# The canonical points of order 1, 2, 4 and 8: https://cr.yp.to/ecdh.html#validate
_LOW_ORDER = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)


def parse_display_name(text: str) -> DisplayName:
    """Return `text` in Unicode's normalization form C.

    Raises InvalidDisplayName unless that has 1 to 128 code points, none a control, format, surrogate or
    line-separator character.
    """
    name = unicodedata.normalize("NFC", text)
    if not 1 <= len(name) <= MAX_DISPLAY_NAME:
        raise InvalidDisplayName(f"a display name has 1 to {MAX_DISPLAY_NAME} characters, not {len(name)}")
    if not name.isprintable() and any(unicodedata.category(char) in _UNPRINTABLE for char in name):
        raise InvalidDisplayName("a display name has no control, format, surrogate or line-separator characters")
    return DisplayName(name)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A WireGuard public key in its text form. Made by `parse`, trusted ever after."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "PublicKey":
        """Accept `text` if it is the only spelling of a usable Curve25519 public key (RFC 7748, section 5).

        A key that had two spellings could be live twice and would break its own routes: `wg set` moves a key's
        allowed IPs to whoever names it last. So base64 is decoded, encoded again and compared; the 32 bytes, read
        as a little-endian integer, are below 2^255 - 19; and the low-order points, with which every peer would
        share the same secret, are refused.

        Raises InvalidPublicKey.
        """
        try:
            raw = binascii.a2b_base64(text)
        except ValueError as error:
            raise InvalidPublicKey("a public key is base64") from error
        if len(raw) != 32 or binascii.b2a_base64(raw, newline=False).decode() != text:
            raise InvalidPublicKey("a public key is the canonical base64 of 32 bytes")
        point = int.from_bytes(raw, "little")
        if point >= _FIELD_PRIME or point in _LOW_ORDER:
            raise InvalidPublicKey("a public key is a Curve25519 point, reduced and not of low order")
        return cls(text)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Peer:
    """A member of a tenant. Across tenants a peer is (tenant, virtual IP): their networks may be the same."""

    display_name: DisplayName
    public_key: PublicKey
    virtual_ip: VirtualIP
    endpoints: tuple[Endpoint, ...] = ()
    """Where its WireGuard can be reached, best first: only those that others may be told. v1 does not show them."""
    proven: bool = False
    """Whether it has shown that its public key is its own. v1 does not show it."""
