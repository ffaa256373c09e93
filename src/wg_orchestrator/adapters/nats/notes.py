import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from wg_orchestrator.domain.nodes import Note

_MOST_WAITING = 1000
_KINDS = ("refused", "node_up", "node_down")


class Notes:
    """The notes that a node tells and hears. Those that others have to be told wait until they are taken.

    Each is told once, and may be lost on its way: from the numbers who hears the next one knows that.
    """

    def __init__(self, process: str, node: str) -> None:
        self._process = process
        self._node = node
        self._number = 0
        self._hearers: list[Callable[[Note], None]] = []
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._down: frozenset[str] = frozenset()

    def hear(self, hearer: Callable[[Note], None]) -> None:
        self._hearers.append(hearer)

    def tell(self, kind: Any, node: str, tenant_id: str | None = None, cause: str | None = None) -> None:
        self._number += 1
        note = Note(self._process, self._number, kind, int(time.time()), node, tenant_id, cause)
        said = {"process": note.by, "number": note.number, "kind": kind, "at": note.at, "node": node}
        self._waiting.append({**said, "tenant": tenant_id, "cause": cause})
        self._pass_on(note)

    def take(self) -> list[dict[str, Any]]:
        """Those that wait, which do not any more."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def heard(self, said: dict[str, Any]) -> None:
        """Another node tells one. Raises ValueError, KeyError or TypeError."""
        process, kind, tenant, cause = str(said["process"]), said["kind"], said["tenant"], said["cause"]
        texts = all(text is None or isinstance(text, str) for text in (tenant, cause))
        if kind not in _KINDS or not process.isalnum() or not texts:
            raise ValueError("no note")
        if process != self._process:
            number, at = int(said["number"]), int(said["at"])
            self._pass_on(Note(process, number, kind, at, str(said["node"]), tenant, cause))

    def see(self, up: Iterable[str], down: Iterable[str]) -> None:
        """Know which other nodes are up (or silent), and which are down. Of all that are up, the one whose name comes
        first tells what has changed.
        """
        before, self._down = self._down, frozenset(down)
        if all(self._node < name for name in up):
            for node in sorted(self._down - before):
                self.tell("node_down", node)
            for node in sorted(before - self._down):
                self.tell("node_up", node)

    def _pass_on(self, note: Note) -> None:
        for hearer in self._hearers:
            hearer(note)
