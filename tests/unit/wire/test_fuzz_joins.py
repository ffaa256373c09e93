"""Any text as a join of v1 is refused with a typed error, or leads to a peer whose entry in a welcome is valid."""

import json
import unicodedata
from ipaddress import ip_address

from hypothesis import given

from tests.fuzzing import fuzzed
from tests.join_texts import JOIN_TEXTS
from wg_orchestrator.domain.errors import InvalidDisplayName, InvalidPublicKey
from wg_orchestrator.domain.peer import Peer, PublicKey, parse_display_name
from wg_orchestrator.wire.v1 import JoinRequest, MalformedJoin, peer_entry, welcome

ADDRESS = ip_address("100.64.0.1")


def parsed(text: str) -> Peer | None:
    """The peer of a join message; None if the message is refused. Any other error is raised."""
    try:
        request = JoinRequest.parse(text)
        return Peer(parse_display_name(request.display_name), PublicKey.parse(request.public_key), ADDRESS)
    except (MalformedJoin, InvalidDisplayName, InvalidPublicKey):
        return None


@fuzzed(500)
@given(JOIN_TEXTS)
def test_a_join_is_refused_or_a_welcome_lists_its_peer_unchanged(text: str) -> None:
    peer = parsed(text)
    if peer is None:
        return
    sent = welcome(
        Peer(peer.display_name, peer.public_key, ip_address("100.64.0.2")), [peer_entry(peer).payload]
    ).payload
    read = json.loads(sent.decode("utf-8", errors="strict"))
    entry = {"display_name": peer.display_name, "public_key": peer.public_key.text, "virtual_ip": str(ADDRESS)}
    assert read == {"virtual_ip": "100.64.0.2", "peers": [entry]}
    assert (list(read), list(read["peers"][0])) == (["virtual_ip", "peers"], list(entry))
    assert len(sent.splitlines()) == 1


@fuzzed(500)
@given(JOIN_TEXTS)
def test_an_accepted_name_and_key_are_in_their_canonical_form(text: str) -> None:
    peer = parsed(text)
    if peer is None:
        return
    assert unicodedata.is_normalized("NFC", peer.display_name)
    assert 1 <= len(peer.display_name) <= 128
    assert not {unicodedata.category(char) for char in peer.display_name} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(peer.public_key.text) == 44
    assert parsed(peer_entry(peer).payload.decode()) == peer
