from ipaddress import ip_address

import pytest

from tests.builders import a_peer
from wg_orchestrator.client import BadMessage, Joined, Left, Message, Roster, Welcome


def address(number: int) -> str:
    return f"100.64.0.{number}"


def welcome(own: int, *others: int) -> Welcome:
    return Welcome(ip_address(address(own)), tuple(map(a_peer, others)))


def left(number: int) -> Left:
    return Left(ip_address(address(number)))


def test_a_roster_is_the_welcome_and_each_notice_after_it() -> None:
    roster = Roster()
    roster.apply(welcome(9, 1, 2))
    roster.apply(Joined(a_peer(3)))
    roster.apply(left(1))
    assert roster.virtual_ip == ip_address(address(9))
    assert roster.peers == {peer.virtual_ip: peer for peer in (a_peer(2), a_peer(3))}


def test_a_new_welcome_replaces_the_roster() -> None:
    roster = Roster()
    roster.apply(welcome(9, 1))
    roster.apply(welcome(8))
    assert (roster.virtual_ip, roster.peers) == (ip_address(address(8)), {})


@pytest.mark.parametrize("message", [Joined(a_peer(1)), Joined(a_peer(9)), left(2)], ids=["twice", "own", "stranger"])
def test_a_notice_that_contradicts_the_roster_is_an_error(message: Message) -> None:
    roster = Roster()
    roster.apply(welcome(9, 1))
    with pytest.raises(BadMessage, match=r"100\.64"):
        roster.apply(message)


@pytest.mark.parametrize("message", [welcome(9, 1, 2, 3), Joined(a_peer(3))], ids=["welcome", "notice"])
def test_a_message_that_would_make_the_roster_too_large_is_an_error(message: Message) -> None:
    roster = Roster(max_peers=2)
    roster.apply(welcome(9, 1, 2))
    with pytest.raises(BadMessage, match="more than 2 peers"):
        roster.apply(message)
