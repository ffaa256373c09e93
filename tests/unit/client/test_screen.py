import io

from rich.console import Console

from tests.builders import a_key_text
from wg_orchestrator.client.screen import RosterScreen


def entry(number: int, name: str = "phone") -> dict[str, str]:
    return {"display_name": name, "public_key": a_key_text(number), "virtual_ip": f"100.64.0.{number}"}


def shown(messages: list[dict[str, object]], terminal: bool, height: int = 40) -> str:
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100, height=height, color_system=None)
    with RosterScreen("ws://x", console) as screen:
        for message in messages:
            screen.show(message)
    return output.getvalue()


WELCOME: dict[str, object] = {"virtual_ip": "100.64.0.9", "peers": [entry(1, "laptop")]}


def test_without_a_terminal_each_change_is_a_line() -> None:
    assert shown([WELCOME, dict(entry(2)), {"removed_peer": "100.64.0.1"}], terminal=False).splitlines() == [
        "you are 100.64.0.9; 1 others",
        "+ 100.64.0.2  phone",
        "- 100.64.0.1  laptop",
    ]


def test_a_terminal_shows_the_roster() -> None:
    last = shown([WELCOME, dict(entry(2)), {"removed_peer": "100.64.0.1"}], terminal=True).split("public key")[-1]
    assert a_key_text(2) in last
    assert a_key_text(1) not in last


def test_a_roster_larger_than_the_terminal_says_how_much_is_missing() -> None:
    peers = [entry(number) for number in range(1, 100)]
    assert "and 93 more" in shown([{"virtual_ip": "100.64.0.250", "peers": peers}], terminal=True, height=20)


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    assert "[bold]x[/]" in shown([WELCOME, dict(entry(2, "[bold]x[/]"))], terminal=False)
