"""From the text of a join to the bytes of a welcome: whatever the text, a typed refusal or a peer that all can read."""

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
    """The peer that a join message asks to be, or None if it is refused. Lets any other error through."""
    try:
        request = JoinRequest.parse(text)
        return Peer(parse_display_name(request.display_name), PublicKey.parse(request.public_key), ADDRESS)
    except (MalformedJoin, InvalidDisplayName, InvalidPublicKey):
        return None


@fuzzed(500)
@given(JOIN_TEXTS)
def test_a_join_is_refused_or_survives_the_way_into_a_welcome(text: str) -> None:
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
def test_what_is_let_in_is_in_the_one_form_that_the_protocol_names(text: str) -> None:
    peer = parsed(text)
    if peer is None:
        return
    assert unicodedata.is_normalized("NFC", peer.display_name)
    assert 1 <= len(peer.display_name) <= 128
    assert not {unicodedata.category(char) for char in peer.display_name} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(peer.public_key.text) == 44
    assert parsed(peer_entry(peer).payload.decode()) == peer
