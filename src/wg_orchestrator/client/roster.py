"""A client's picture of its tenant, from messages of protocol v1 that may be anything."""

import json
from ipaddress import ip_address
from typing import Any, TypeAlias

from wg_orchestrator.domain.errors import InvalidPublicKey
from wg_orchestrator.domain.peer import MAX_DISPLAY_NAME, PublicKey

Message: TypeAlias = dict[str, Any]
"""A welcome or a notice of the service, as docs/protocol.md has them."""


MAX_PEERS = 100_000


class BadMessage(ValueError):
    """The service does not speak protocol v1, or contradicts itself. To come back would not change that."""


class Roster:
    """A client's picture of its tenant: the welcome, and each notice after it, applied in order."""

    def __init__(self) -> None:
        self.virtual_ip = ""
        self.peers: dict[str, dict[str, str]] = {}
        """The others, by virtual IP."""

    def apply(self, message: Message) -> None:
        """Apply one message of the service. Raises BadMessage if it contradicts the picture, or is more than fits."""
        if "peers" in message:
            self.virtual_ip = message["virtual_ip"]
            self.peers = {peer["virtual_ip"]: peer for peer in message["peers"]}
            if len(self.peers) < len(message["peers"]) or self.virtual_ip in self.peers:
                raise BadMessage("a welcome with one address twice")
        elif "removed_peer" in message:
            if self.peers.pop(message["removed_peer"], None) is None:
                raise BadMessage(f"{message['removed_peer']} left and was never there")
        elif message["virtual_ip"] in self.peers or message["virtual_ip"] == self.virtual_ip:
            raise BadMessage(f"{message['virtual_ip']} joined twice")
        elif len(self.peers) >= MAX_PEERS:
            raise BadMessage(f"more than {MAX_PEERS} peers")
        else:
            self.peers[message["virtual_ip"]] = message


def parse_message(text: str) -> Message:
    """One message of the service, checked: these keys and no others, strings, addresses, keys. Raises BadMessage.

    Which characters a name has is not checked: a character that only a newer Unicode calls unprintable would end the
    client for what another peer is called.
    """
    try:
        message = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise BadMessage("not JSON") from error
    keys = message.keys() if isinstance(message, dict) else None
    if keys == {"removed_peer"}:
        _check_address(message["removed_peer"])
    elif keys == {"virtual_ip", "peers"}:
        _check_address(message["virtual_ip"])
        if not isinstance(message["peers"], list) or len(message["peers"]) > MAX_PEERS:
            raise BadMessage(f"peers are no list of at most {MAX_PEERS}")
        for peer in message["peers"]:
            _check_entry(peer)
    else:
        _check_entry(message)
    checked: Message = message
    return checked


def _check_entry(peer: Any) -> None:
    if not isinstance(peer, dict) or peer.keys() != {"display_name", "public_key", "virtual_ip"}:
        raise BadMessage("neither a welcome nor a notice")
    _check_address(peer["virtual_ip"])
    name, key = peer["display_name"], peer["public_key"]
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_DISPLAY_NAME:
        raise BadMessage(f"a name that is no text of 1 to {MAX_DISPLAY_NAME} characters")
    if not isinstance(key, str):
        raise BadMessage("a public key that is no text")
    try:
        PublicKey.parse(key)
    except InvalidPublicKey as error:
        raise BadMessage(str(error)) from error


def _check_address(address: Any) -> None:
    # A scope, after the %, may be any text.
    if not isinstance(address, str) or "%" in address:
        raise BadMessage("a virtual IP that is none")
    try:
        canonical = str(ip_address(address))
    except ValueError as error:
        raise BadMessage("a virtual IP that is none") from error
    if address != canonical:
        raise BadMessage("a virtual IP that is not in its canonical form")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is given twice")
    return fields
