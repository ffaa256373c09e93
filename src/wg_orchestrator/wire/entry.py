"""What all versions of the protocol say of a peer: its name, its public key and its virtual IP."""

from ipaddress import ip_address
from typing import Any

from wg_orchestrator.domain.errors import InvalidPublicKey
from wg_orchestrator.domain.peer import MAX_DISPLAY_NAME, DisplayName, Peer, PublicKey, VirtualIP
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.strict_json import quoted


def members(peer: Peer) -> str:
    """Name, key and address as members of a JSON object, in the protocol's order, without the braces."""
    # Only the name may need escapes.
    name, key = quoted(peer.display_name), peer.public_key
    return f'"display_name":{name},"public_key":"{key}","virtual_ip":"{peer.virtual_ip}"'


def parse_name(name: Any) -> DisplayName:
    """Read a name of 1 to 128 characters. They may be any characters. Raises BadMessage."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_DISPLAY_NAME:
        raise BadMessage(f"a name that is no text of 1 to {MAX_DISPLAY_NAME} characters")
    return DisplayName(name)


def parse_key(key: Any) -> PublicKey:
    """Read a public key. Raises BadMessage."""
    if not isinstance(key, str):
        raise BadMessage("a public key that is no text")
    try:
        return PublicKey.parse(key)
    except InvalidPublicKey as error:
        raise BadMessage(str(error)) from error


def parse_address(address: Any) -> VirtualIP:
    """Read an address, which has to be in its canonical form. Raises BadMessage."""
    # `ip_address` would accept a scope, which is any text after a %.
    if not isinstance(address, str) or "%" in address:
        raise BadMessage("a virtual IP that is none")
    try:
        virtual_ip = ip_address(address)
    except ValueError as error:
        raise BadMessage("a virtual IP that is none") from error
    if address != str(virtual_ip):
        raise BadMessage("a virtual IP that is not in its canonical form")
    return virtual_ip
