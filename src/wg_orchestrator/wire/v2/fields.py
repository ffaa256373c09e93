"""Functions that read single values of v2's messages. Each raises ValueError if the value is not valid."""

import binascii
from ipaddress import ip_address, ip_network
from typing import Any

from wg_orchestrator.domain.endpoint import HIGHEST_PORT, Endpoint
from wg_orchestrator.domain.errors import InvalidEndpoint
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.wire import strict_json

LONGEST_SESSION = 64
"""Characters that the secret of a session may have."""

REVISIONS = 2**53
"""All revisions are below this: up to here JavaScript's numbers are exact (RFC 8259, section 6)."""


def decode(text: str) -> dict[str, Any]:
    """Read `text` strictly as a JSON object, and return its fields."""
    fields = strict_json.decode(text)
    if not isinstance(fields, dict):
        raise ValueError("no JSON object")
    return fields


def text(value: Any) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def count(value: Any) -> int:
    """An integer from 0 to below 2^53, written without a fraction or an exponent. true and false are not integers."""
    if type(value) is not int or not 0 <= value < REVISIONS:
        raise ValueError("no integer from 0 to below 2^53")
    return value


def session(value: Any) -> str:
    """A text of at most 64 characters, which may be empty."""
    if len(text(value)) > LONGEST_SESSION:
        raise ValueError(f"a session of more than {LONGEST_SESSION} characters")
    return text(value)


def address(value: Any) -> VirtualIP:
    """An IP address without a scope, in any spelling."""
    if "%" in text(value):
        raise ValueError("an address with a scope")
    return ip_address(text(value))


def endpoint(value: Any) -> Endpoint:
    """An IP address, in any spelling that `Endpoint.parse` reads, and any number as its port."""
    try:
        return Endpoint.parse(text(value))
    except InvalidEndpoint as error:
        raise ValueError(str(error)) from error


def canonical_endpoint(value: Any) -> Endpoint:
    """An endpoint as the service sends it: in its canonical form, not IPv4-mapped, with a port from 1 to 65535."""
    read = endpoint(value)
    # A service sends a mapped address as IPv4. Its canonical IPv6 form depends on the version of Python.
    if str(read) != value or read.unmapped() != read or not 1 <= read.port <= HIGHEST_PORT:
        raise ValueError("an endpoint that is not in its canonical form")
    return read


def network(value: Any) -> Network:
    """A network in its canonical form."""
    read = ip_network(text(value))
    if str(read) != value or "%" in value:
        raise ValueError("a network that is not in its canonical form")
    return read


def preshared_key(value: Any) -> str:
    """WireGuard's text form of a preshared key: the canonical base64 of 32 bytes."""
    raw = binascii.a2b_base64(text(value))
    if len(raw) != 32 or binascii.b2a_base64(raw, newline=False).decode() != value:
        raise ValueError("a preshared key that is not the canonical base64 of 32 bytes")
    return text(value)


def items(value: Any, most: int) -> list[Any]:
    """A list of at most `most` values."""
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"no list of at most {most}")
    return value
