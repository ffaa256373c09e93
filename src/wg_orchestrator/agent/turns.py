"""Which of the peers that can't be reached are tried now."""

from collections.abc import Mapping

from wg_orchestrator.agent.paths import TRIAL, Path
from wg_orchestrator.domain.peer import PublicKey

AT_ONCE = 64
"""Peers that are tried at one time. A packet to a machine that is off waits three seconds for its hardware address, and
counts as one that the socket has yet to send; by default a socket has room for about 280 small ones. So many peers,
with three handshakes each in that time, leave room for the tunnels that work.
"""


class Turns:
    """Gives turns to peers that have to be tried. One that is tried for the first time comes first; the others follow
    in the order in which they have waited.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._held: frozenset[PublicKey] = frozenset()
        self._line: dict[PublicKey, None] = {}

    def give(self, paths: Mapping[PublicKey, Path], now: float) -> frozenset[PublicKey]:
        """Those whose turn it is, by what is known of the ways to all."""
        wanting = [key for key, path in paths.items() if path.trial is not None]
        if not wanting:
            self._held, self._line = frozenset(), {}
            return self._held
        done = {key for key in wanting if key in self._held and not 0 < now - paths[key].since < TRIAL}
        line = dict.fromkeys(key for key in self._line if key in set(wanting) - done)
        self._line = {**line, **dict.fromkeys(wanting)}

        def rank(key: PublicKey) -> int:
            is_first, has_begun = paths[key].trials <= 1, key in self._held and key not in done
            return 0 if is_first and has_begun else 1 if is_first else 2 if has_begun else 3

        self._held = frozenset(sorted(self._line, key=rank)[: self._at_once])
        return self._held
