from collections import deque
from collections.abc import Callable, Collection

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wg_orchestrator.client.roster import Roster
from wg_orchestrator.client.terminal import visible
from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.domain.peer import Peer
from wg_orchestrator.wire.v1 import Joined, Left, Message, Welcome

_LOG_LINES = 8


class Screen:
    """Shows the peers of a tenant in a terminal, and the last lines of what has happened. If the output is no terminal,
    prints the lines alone.
    """

    def __init__(self, title: str, peers: Callable[[], Collection[Peer]], console: Console | None = None) -> None:
        """`peers` says who is in the tenant, but this client."""
        self._title = visible(title)
        self._peers = peers
        self._console = console or Console()
        self._log: deque[Text] = deque(maxlen=_LOG_LINES)
        self._live = Live(console=self._console, get_renderable=self._render, auto_refresh=False)

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def note(self, line: str, style: str = "yellow") -> None:
        """Show a line, and the peers as they are now."""
        text = Text(visible(line), style=style)
        self._log.append(text)
        if self._console.is_terminal:
            self._live.refresh()
        else:
            self._console.print(text, soft_wrap=True)

    def _render(self) -> Group:
        table = Table("virtual IP", "name", "public key", title=Text(self._title), expand=True, title_justify="left")
        peers = sorted(self._peers(), key=_order)
        room = max(3, self._console.height - _LOG_LINES - 6)
        for peer in peers[:room]:
            table.add_row(str(peer.virtual_ip), Text(visible(peer.display_name)), str(peer.public_key))
        if len(peers) > room:
            table.add_row("…", f"and {len(peers) - room} more", "")
        return Group(table, *self._log)


class RosterScreen(Screen):
    """The same for a client that speaks protocol v1."""

    def __init__(self, title: str, console: Console | None = None, roster: Roster | None = None) -> None:
        self._roster = roster or Roster()
        super().__init__(title, self._roster.peers_now, console)

    def __enter__(self) -> "RosterScreen":
        super().__enter__()
        return self

    def show(self, message: Message) -> None:
        """Apply one message of the service and show what it changed. Raises BadMessage if it contradicts the others."""
        gone = self._roster.peers.get(message.virtual_ip) if isinstance(message, Left) else None
        self._roster.apply(message)
        match message:
            case Welcome(virtual_ip, peers):
                self.note(f"you are {virtual_ip}; {len(peers)} others", "bold")
            case Joined(peer):
                self.note(f"+ {peer.virtual_ip}  {peer.display_name}", "green")
            case Left(virtual_ip):
                self.note(f"- {virtual_ip}  {gone.display_name if gone else ''}", "red")
            case _:
                assert_never(message)


def _order(peer: Peer) -> tuple[int, int]:
    return peer.virtual_ip.version, int(peer.virtual_ip)
