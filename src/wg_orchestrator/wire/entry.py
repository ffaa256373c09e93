"""What all versions say of a peer: its name, its key and its address."""

from ipaddress import ip_address
from typing import Any

from wg_orchestrator.domain.errors import InvalidPublicKey
from wg_orchestrator.domain.peer import MAX_DISPLAY_NAME, DisplayName, Peer, PublicKey, VirtualIP
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.strict_json import quoted


def members(peer: Peer) -> str:
    """The three as members of a JSON object, in the protocol's order, without its braces."""
    # Of the three, a name alone may need escapes.
    name, key = quoted(peer.display_name), peer.public_key
    return f'"display_name":{name},"public_key":"{key}","virtual_ip":"{peer.virtual_ip}"'


def parse_name(name: Any) -> DisplayName:
    """A name of 1 to 128 characters, whichever they are. Raises BadMessage."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_DISPLAY_NAME:
        raise BadMessage(f"a name that is no text of 1 to {MAX_DISPLAY_NAME} characters")
    return DisplayName(name)


def parse_key(key: Any) -> PublicKey:
    """Raises BadMessage."""
    if not isinstance(key, str):
        raise BadMessage("a public key that is no text")
    try:
        return PublicKey.parse(key)
    except InvalidPublicKey as error:
        raise BadMessage(str(error)) from error


def parse_address(address: Any) -> VirtualIP:
    """An address in its canonical form. Raises BadMessage."""
    # A scope, after the %, may be any text.
    if not isinstance(address, str) or "%" in address:
        raise BadMessage("a virtual IP that is none")
    try:
        virtual_ip = ip_address(address)
    except ValueError as error:
        raise BadMessage("a virtual IP that is none") from error
    if address != str(virtual_ip):
        raise BadMessage("a virtual IP that is not in its canonical form")
    return virtual_ip
