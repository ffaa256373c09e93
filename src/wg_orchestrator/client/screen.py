from collections import deque

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wg_orchestrator.client.client import Message, Roster
from wg_orchestrator.client.terminal import visible

_LOG_LINES = 8


class RosterScreen:
    """The live roster of a tenant in a terminal; where there is no terminal, a line for each change."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = visible(title)
        self._console = console or Console()
        self._roster = Roster()
        self._log: deque[Text] = deque(maxlen=_LOG_LINES)
        self._live = Live(console=self._console, get_renderable=self._render, auto_refresh=False)

    def __enter__(self) -> "RosterScreen":
        if self._console.is_terminal:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, change: Message) -> None:
        """Apply one message of the service and show what it changed. Raises BadMessage if it contradicts the others."""
        gone = self._roster.peers.get(change.get("removed_peer", ""), {})
        self._roster.apply(change)
        if "peers" in change:
            self.note(f"you are {change['virtual_ip']}; {len(change['peers'])} others", "bold")
        elif gone:
            self.note(f"- {gone['virtual_ip']}  {gone['display_name']}", "red")
        else:
            self.note(f"+ {change['virtual_ip']}  {change['display_name']}", "green")

    def note(self, line: str, style: str = "yellow") -> None:
        """Show a line about the connection itself."""
        text = Text(visible(line), style=style)
        self._log.append(text)
        if self._console.is_terminal:
            self._live.refresh()
        else:
            self._console.print(text, soft_wrap=True)

    def _render(self) -> Group:
        table = Table("virtual IP", "name", "public key", title=Text(self._title), expand=True, title_justify="left")
        peers = sorted(self._roster.peers.values(), key=lambda peer: (len(peer["virtual_ip"]), peer["virtual_ip"]))
        room = max(3, self._console.height - _LOG_LINES - 6)
        for peer in peers[:room]:
            table.add_row(peer["virtual_ip"], Text(visible(peer["display_name"])), peer["public_key"])
        if len(peers) > room:
            table.add_row("…", f"and {len(peers) - room} more", "")
        return Group(table, *self._log)
