"""The rendezvous against another implementation of Noise, and against whoever would like to be somebody else."""

import os
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from harness.wireguard_peer import Peer, keyed
from wg_orchestrator.adapters.rendezvous import primitives
from wg_orchestrator.adapters.rendezvous.cookies import COOKIE_REPLY_BYTES, LIFE
from wg_orchestrator.adapters.rendezvous.rendezvous import Claim, Rendezvous, RendezvousLimits
from wg_orchestrator.adapters.rendezvous.session import REJECT_AFTER, WINDOW
from wg_orchestrator.domain.endpoint import Endpoint

HERE, THERE = Endpoint.parse("198.51.100.7:51820"), Endpoint.parse("203.0.113.9:4000")
PSK = bytes(range(32))
KEY = os.urandom(32)


class Lab:
    """A rendezvous with a clock of its own."""

    def __init__(self, limits: RendezvousLimits | None = None, key: bytes = KEY) -> None:
        self.now = 1000.0
        self.rendezvous = Rendezvous(key, limits, lambda: self.now)
        self.told: list[tuple[str, Endpoint]] = []

    def peer(self, psk: bytes = PSK, private_key: bytes | None = None) -> Peer:
        return Peer(self.rendezvous.public_key, psk, private_key)

    def claim(self, peer: Peer, name: str = "owner", psk: bytes = PSK) -> Claim:
        claim, _ = self.rendezvous.claim(peer.public_key, psk, lambda endpoint: self.told.append((name, endpoint)))
        return claim

    def sends(self, message: bytes, source: Endpoint = HERE) -> list[bytes]:
        """What comes back; never more than was sent."""
        answers = self.rendezvous.datagram(message, lambda: source)
        assert sum(map(len, answers)) <= len(message)
        return answers

    def shakes(self, peer: Peer, source: Endpoint = HERE) -> None:
        (response,) = self.sends(peer.initiation(), source)
        peer.take(response)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_the_first_message_of_the_session_is_the_proof_and_the_initiation_is_none(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    assert lab.told == []
    assert lab.sends(peer.transport()) == []
    assert lab.told == [("owner", HERE)]


@pytest.mark.parametrize("data", [b"", b"x", bytes(1400)])
def test_any_message_of_the_session_proves(lab: Lab, data: bytes) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    lab.sends(peer.transport(data))
    assert lab.told == [("owner", HERE)]


def test_where_packets_come_from_is_told_when_it_changes_and_only_then(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    for source in (HERE, HERE, THERE, THERE, HERE):
        lab.sends(peer.transport(), source)
    assert [endpoint for _, endpoint in lab.told] == [HERE, THERE, HERE]


def test_a_late_packet_does_not_move_the_endpoint_back(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    early = [peer.transport() for _ in range(2)]
    lab.sends(peer.transport(), THERE)
    for message in early:
        lab.sends(message, HERE)
    assert lab.told == [("owner", THERE)]


def test_a_new_handshake_takes_the_place_of_the_session_and_the_old_one_goes_on_until_it_is_used(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    lab.sends(peer.transport())
    old = peer.transport()
    lab.shakes(peer, THERE)
    lab.sends(old, HERE)
    lab.sends(peer.transport(), THERE)
    assert lab.sends(old, HERE) == []
    assert [endpoint for _, endpoint in lab.told] == [HERE, THERE]
    assert lab.rendezvous.outcomes["unknown session"] == 1


def test_who_has_another_key_proves_nothing(lab: Lab) -> None:
    owner, thief = lab.peer(), lab.peer()
    lab.claim(owner)
    assert lab.sends(thief.initiation()) == []
    assert lab.rendezvous.outcomes == {"key not claimed": 1}


def test_the_owners_own_packets_do_not_prove_a_strangers_claim(lab: Lab) -> None:
    """The stranger claims the owner's key: its claim has a preshared key that the owner does not know."""
    owner = lab.peer()
    lab.claim(owner, "stranger", os.urandom(32))
    for _ in range(3):
        (response,) = lab.sends(owner.initiation())
        with pytest.raises(InvalidTag):
            owner.take(response)
    assert lab.told == []


def test_the_owner_is_proven_beside_strangers_claims_on_its_key(lab: Lab) -> None:
    owner = lab.peer()
    for number in range(2):
        lab.claim(owner, f"stranger-{number}", os.urandom(32))
    lab.claim(owner)
    for number in range(2, 3):
        lab.claim(owner, f"stranger-{number}", os.urandom(32))
    for _ in range(3):
        (response,) = lab.sends(owner.initiation())
        try:
            owner.take(response)
        except InvalidTag:
            continue
        lab.sends(owner.transport())
    assert lab.told == [("owner", HERE)]


def test_of_too_many_claims_that_wait_the_oldest_is_evicted_and_a_proven_one_never(lab: Lab) -> None:
    owner = lab.peer()
    proven = lab.claim(owner)
    lab.shakes(owner)
    lab.sends(owner.transport())
    waiting = [lab.claim(owner, f"stranger-{number}", os.urandom(32)) for number in range(3)]
    evicted = lab.rendezvous.claim(owner.public_key, os.urandom(32), lambda _: None)[1]
    assert evicted is waiting[0]
    assert proven.endpoint == HERE
    lab.sends(owner.transport(), THERE)
    assert lab.told[-1] == ("owner", THERE)


def test_a_replayed_initiation_gets_no_answer(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    first = peer.initiation()
    assert len(lab.sends(first)) == 1
    assert lab.sends(first) == []
    lab.shakes(peer)
    assert lab.sends(first) == []


def test_after_a_restart_a_replay_gets_an_answer_and_proves_nothing(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    initiation = peer.initiation()
    (response,) = lab.sends(initiation)
    peer.take(response)
    transport = peer.transport()
    lab.sends(transport)
    again = Lab()
    again.claim(peer)
    assert len(again.sends(initiation, THERE)) == 1
    again.sends(transport, THERE)
    assert again.told == []


def test_a_replayed_transport_counts_once(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    message = peer.transport()
    lab.sends(message, HERE)
    lab.sends(message, THERE)
    assert (lab.told, lab.rendezvous.outcomes["replayed transport"]) == ([("owner", HERE)], 1)


@pytest.mark.parametrize(
    ("counters", "counted"),
    [
        ([0, 1, 2], 3), ([2, 1, 0], 3), ([0, 0], 1), ([5, 3, 5, 3], 2),
        ([WINDOW, 0], 1), ([WINDOW - 1, 0], 2), ([10 * WINDOW, 10 * WINDOW - 1, 9 * WINDOW], 2), ([2**60, 2**60], 1),
    ],
)  # fmt: skip
def test_each_message_counts_once_also_if_others_have_overtaken_it(lab: Lab, counters: list[int], counted: int) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    for counter in counters:
        lab.sends(peer.transport(counter=counter))
    assert lab.rendezvous.outcomes["proven"] + lab.rendezvous.outcomes["alive"] == counted


def test_a_forged_counter_does_not_lock_the_session(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    message = peer.transport()
    lab.sends(message[:8] + (2**50).to_bytes(8, "little") + message[16:])
    lab.sends(message)
    assert lab.told == [("owner", HERE)]


def test_a_session_ends_after_its_time(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    lab.now += REJECT_AFTER + 1
    lab.sends(peer.transport())
    assert (lab.told, lab.rendezvous.outcomes["session over"]) == ([], 1)


def test_what_was_released_is_over(lab: Lab) -> None:
    peer = lab.peer()
    claim = lab.claim(peer)
    lab.shakes(peer)
    lab.rendezvous.release(claim)
    lab.rendezvous.release(claim)
    lab.sends(peer.transport())
    assert lab.told == []
    assert lab.sends(peer.initiation()) == []
    assert lab.rendezvous.outcomes == {"answered": 1, "unknown session": 1, "key not claimed": 1}


@pytest.mark.parametrize("is_addressed", [False, True])
def test_every_flipped_bit_of_an_initiation_is_noticed(is_addressed: bool) -> None:
    """Also if mac1 is made good again, which anyone can. The sender's index is covered by mac1 alone."""
    lab = Lab(RendezvousLimits(calm_rate=1e9))
    peer = lab.peer()
    lab.claim(peer)
    message = peer.initiation()
    for bit in range(8 * 8, 116 * 8) if is_addressed else range(132 * 8):
        bad = bytearray(message)
        bad[bit // 8] ^= 1 << bit % 8
        assert lab.sends(peer.addressed(bytes(bad[:116])) if is_addressed else bytes(bad)) == [], bit
    assert len(lab.sends(message)) == 1


def test_every_flipped_bit_of_a_transport_is_noticed(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    message = peer.transport(b"data")
    for bit in range(len(message) * 8):
        bad = bytearray(message)
        bad[bit // 8] ^= 1 << bit % 8
        lab.sends(bytes(bad))
        assert lab.told == [], bit
    lab.sends(message)
    assert lab.told == [("owner", HERE)]


def test_every_flipped_bit_of_a_response_is_noticed_by_the_peer(lab: Lab) -> None:
    peer = lab.peer()
    lab.claim(peer)
    (response,) = lab.sends(peer.initiation())
    for bit in range(12 * 8, 60 * 8):
        bad = bytearray(response)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises((InvalidTag, AssertionError)):
            peer.take(bytes(bad))


def test_under_load_a_cookie_is_asked_for_and_whoever_gets_it_is_answered() -> None:
    lab = Lab(RendezvousLimits(calm_rate=1.0))
    peer = lab.peer()
    lab.claim(peer)
    lab.sends(peer.initiation())
    message = peer.initiation()
    (reply,) = lab.sends(message)
    assert (len(reply), reply[:4], reply[4:8]) == (COOKIE_REPLY_BYTES, b"\3\0\0\0", message[4:8])
    peer.take_cookie(reply, message[116:132])
    assert lab.sends(peer.initiation(), THERE)[0][:4] == b"\3\0\0\0", "the cookie is of another address"
    (response,) = lab.sends(peer.initiation())
    peer.take(response)
    lab.sends(peer.transport())
    assert lab.told == [("owner", HERE)]


@pytest.mark.parametrize(("later", "is_good"), [(LIFE - 1, True), (1.5 * LIFE, True), (2.5 * LIFE, False)])
def test_a_cookie_is_good_for_a_while(later: float, is_good: bool) -> None:
    lab = Lab(RendezvousLimits(calm_rate=0.0))
    peer = lab.peer()
    lab.claim(peer)
    message = peer.initiation()
    (reply,) = lab.sends(message)
    peer.take_cookie(reply, message[116:132])
    lab.now += later
    (answer,) = lab.sends(peer.initiation())
    assert (answer[:4] == b"\2\0\0\0") is is_good


def test_one_source_is_answered_at_a_bounded_rate_even_with_a_cookie() -> None:
    lab = Lab(RendezvousLimits(calm_rate=0.0, source_rate=1.0, source_burst=2.0))
    peer = lab.peer()
    lab.claim(peer)
    message = peer.initiation()
    peer.take_cookie(lab.sends(message)[0], message[116:132])
    assert [len(lab.sends(peer.initiation())) for _ in range(4)] == [1, 1, 0, 0]
    lab.now += 1
    assert [len(lab.sends(peer.initiation())) for _ in range(2)] == [1, 0]


def test_xchacha20_poly1305_is_that_of_its_draft() -> None:
    """draft-irtf-cfrg-xchacha-03, appendix A.3.1."""
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    sealed = primitives.seal_cookie(
        bytes(range(0x80, 0xA0)), bytes(range(0x40, 0x58)), text, bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    )
    assert sealed[:16].hex() == "bd6d179d3e83d43b9576579493c0e939"
    assert sealed[-16:].hex() == "c0875924c1c7987947deafd8780acf49"


def test_a_key_of_low_order_can_not_be_claimed(lab: Lab) -> None:
    with pytest.raises(ValueError, match="Error computing shared key"):
        lab.rendezvous.claim(bytes(32), PSK, lambda _: None)


HEADS = st.sampled_from([b"", b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0", b"\4\0\0\0"])


@given(HEADS, st.binary(max_size=200), st.booleans())
def test_whatever_comes_nothing_is_proven_and_nothing_breaks(head: bytes, rest: bytes, is_addressed: bool) -> None:
    lab = Lab()
    peer = lab.peer()
    lab.claim(peer)
    lab.shakes(peer)
    message = head + rest
    if is_addressed:
        body = (b"\1\0\0\0" + rest).ljust(116, b"\0")[:116]
        message = peer.addressed(body)
    assert lab.sends(message) == []
    assert lab.told == []
    assert sum(lab.rendezvous.outcomes.values()) == 2


def test_a_thousand_claims_of_a_key_by_whoever_does_not_have_it_prove_nothing() -> None:
    lab = Lab(RendezvousLimits(calm_rate=1e9))
    owner = lab.peer()
    lab.claim(owner)
    lab.shakes(owner)
    lab.sends(owner.transport())
    later = owner.transport()

    def attempt(forge: Callable[[bytes], bytes]) -> None:
        psk = os.urandom(32)
        claim = lab.claim(owner, "stranger", psk)
        thief = lab.peer(psk)
        lab.sends(forge(thief.initiation()))
        lab.sends(forge(owner.initiation()))  # What it has overheard.
        lab.rendezvous.release(claim)

    for number in range(1000):
        attempt(lambda message, number=number: message if number % 2 else keyed(b"k", message) + message[16:])  # type: ignore[misc]
    lab.sends(later, THERE)
    assert lab.told[-1] == ("owner", THERE)
    assert {name for name, _ in lab.told} == {"owner"}


def test_whoever_is_connected_from_where_the_initiation_comes_from_is_answered_first(lab: Lab) -> None:
    owner = Peer(lab.rendezvous.public_key, PSK)
    told: list[Endpoint] = []
    lab.rendezvous.claim(owner.public_key, PSK, told.append, HERE.address)
    for number in range(2):
        lab.rendezvous.claim(owner.public_key, bytes([number + 1]) * 32, lambda _: None, THERE.address)
    (response,) = lab.rendezvous.datagram(owner.initiation(), lambda: HERE)
    owner.take(response)
    lab.rendezvous.datagram(owner.transport(), lambda: HERE)
    assert told == [HERE]
