"""A client's picture by protocol v2, against a service that may say anything."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from tests.builders import a_key, a_name, a_peer
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.v2.notices import Joined, Left, Message, Resumed, Updated, Welcome

OWN = ip_address("100.64.0.9")
NETWORK = ip_network("100.64.0.0/10")
SECRET = "a-secret-that-is-in-no-error"
WELCOME = Welcome(10, SECRET, 60, OWN, NETWORK, (a_peer(1), a_peer(2)))


def a_picture() -> Picture:
    picture = Picture(max_peers=3)
    picture.apply(WELCOME)
    return picture


def test_each_notice_changes_the_picture_and_its_revision() -> None:
    picture = a_picture()
    renamed = replace(a_peer(1), display_name=a_name(7))
    for message in (Joined(12, a_peer(3)), Updated(13, renamed), Left(17, a_key(2), a_peer(2).virtual_ip)):
        picture.apply(message)
    assert list(picture.peers_now()) == [renamed, a_peer(3)]
    assert (picture.revision, picture.session, picture.grace) == (17, SECRET, 60)
    assert (picture.virtual_ip, picture.network) == (OWN, NETWORK)


def test_resumed_keeps_the_picture_and_a_welcome_replaces_it() -> None:
    picture = a_picture()
    picture.apply(Resumed(10, SECRET, 30, OWN, NETWORK))
    assert (len(picture.peers), picture.grace) == (2, 30)
    picture.apply(Welcome(3, "another", 60, OWN, NETWORK, (a_peer(5),)))
    assert (list(picture.peers_now()), picture.revision, picture.session) == ([a_peer(5)], 3, "another")


def test_an_address_that_was_left_may_be_taken_by_another() -> None:
    picture = a_picture()
    picture.apply(Left(11, a_key(1), a_peer(1).virtual_ip))
    picture.apply(Joined(12, a_peer(8, "100.64.0.1")))
    assert a_peer(8, "100.64.0.1") in picture.peers_now()


CONTRADICTIONS: dict[str, Message] = {
    "a revision twice": Joined(10, a_peer(3)),
    "a revision that goes back": Left(9, a_key(1), a_peer(1).virtual_ip),
    "a key twice": Joined(11, a_peer(1, "100.64.0.7")),
    "an address twice": Joined(11, a_peer(3, "100.64.0.1")),
    "the client's own address": Joined(11, a_peer(3, str(OWN))),
    "an update of nobody": Updated(11, a_peer(3)),
    "an update that moves": Updated(11, a_peer(1, "100.64.0.7")),
    "an update to another's address": Updated(11, a_peer(1, "100.64.0.2")),
    "a leave of nobody": Left(11, a_key(3), a_peer(3).virtual_ip),
    "a leave from another's address": Left(11, a_key(1), a_peer(2).virtual_ip),
    "resumed at another revision": Resumed(9, SECRET, 60, OWN, NETWORK),
    "resumed at another address": Resumed(10, SECRET, 60, ip_address("100.64.0.8"), NETWORK),
    "a welcome with an address twice": replace(WELCOME, peers=(a_peer(1), a_peer(2, "100.64.0.1"))),
    "a welcome with a key twice": replace(WELCOME, peers=(a_peer(1), a_peer(1, "100.64.0.2"))),
    "a welcome with the client itself": replace(WELCOME, peers=(a_peer(1, str(OWN)),)),
    "a welcome of too many": replace(WELCOME, peers=tuple(map(a_peer, (1, 2, 3, 4)))),
}


@pytest.mark.parametrize("message", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_contradiction_is_refused_and_changes_nothing(message: Message) -> None:
    picture = a_picture()
    with pytest.raises(BadMessage) as refusal:
        picture.apply(message)
    assert SECRET not in str(refusal.value)
    assert list(picture.peers_now()) == [a_peer(1), a_peer(2)]
    assert (picture.revision, picture.session) == (10, SECRET)


def test_one_more_than_the_bound_is_refused() -> None:
    picture = a_picture()
    picture.apply(Joined(11, a_peer(3)))
    with pytest.raises(BadMessage, match="more than 3"):
        picture.apply(Joined(12, a_peer(4)))


def test_before_the_welcome_there_is_nothing_to_resume() -> None:
    with pytest.raises(BadMessage):
        Picture().apply(Resumed(0, "", 60, OWN, NETWORK))
