import io
from ipaddress import ip_address

from rich.console import Console

from harness.keys import a_key_text
from tests.builders import a_key
from wg_orchestrator.client import Joined, Left, Message, Welcome
from wg_orchestrator.client.screen import RosterScreen
from wg_orchestrator.domain.peer import DisplayName, Peer


def entry(number: int, name: str = "phone") -> Peer:
    return Peer(DisplayName(name), a_key(number), ip_address(f"100.64.0.{number}"))


def welcome(own: int, *others: Peer) -> Welcome:
    return Welcome(ip_address(f"100.64.0.{own}"), others)


def shown(messages: list[Message], terminal: bool, height: int = 40) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100, height=height, color_system=None)
    with RosterScreen("ws://x", console) as screen:
        for message in messages:
            screen.show(message)
    return output.getvalue()


WELCOME = welcome(9, entry(1, "laptop"))
LEFT = Left(ip_address("100.64.0.1"))


def test_without_a_terminal_each_change_is_a_line() -> None:
    assert shown([WELCOME, Joined(entry(2)), LEFT], terminal=False).splitlines() == [
        "you are 100.64.0.9; 1 others",
        "+ 100.64.0.2  phone",
        "- 100.64.0.1  laptop",
    ]


def test_a_terminal_shows_the_roster() -> None:
    last = shown([WELCOME, Joined(entry(2)), LEFT], terminal=True).split("public key")[-1]
    assert a_key_text(2) in last
    assert a_key_text(1) not in last


def test_a_terminal_that_is_too_small_shows_how_many_peers_are_missing() -> None:
    peers = [entry(number) for number in range(1, 100)]
    assert "and 93 more" in shown([welcome(250, *peers)], terminal=True, height=20)


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    assert "[bold]x[/]" in shown([WELCOME, Joined(entry(2, "[bold]x[/]"))], terminal=False)


def test_peers_are_sorted_by_address_and_ipv4_comes_first() -> None:
    both = [Peer(DisplayName("six"), a_key(1), ip_address("fd00::1")), entry(10), entry(2)]
    last = shown([welcome(9, *both)], terminal=True).split("public key")[-1]
    assert last.index("100.64.0.2 ") < last.index("100.64.0.10 ") < last.index("fd00::1")
