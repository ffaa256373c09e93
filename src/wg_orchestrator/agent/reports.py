from collections.abc import Mapping

from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import VirtualIP
from wg_orchestrator.wire.v2.requests import MAX_PATHS


class Reports:
    """What the service was told, on one connection, of the interface."""

    def __init__(self) -> None:
        self.at = 0.0
        """When it was told last."""
        self._revision: int | None = None
        self._paths: dict[VirtualIP, PathKind] = {}

    def begin_anew(self) -> None:
        """On this connection, it was told nothing."""
        self._revision, self._paths = None, {}

    def news(self, revision: int, kinds: Mapping[VirtualIP, PathKind]) -> Mapping[VirtualIP, PathKind] | None:
        """What the service does not know yet of how peers are reached. If there are too many peers, those that are
        reached come first. None: there is nothing new, and it knows this revision too.
        """
        reported = sorted(kinds, key=lambda address: kinds[address] is PathKind.NONE)[:MAX_PATHS]
        self._paths = {address: kind for address, kind in self._paths.items() if address in kinds}
        changed = {address: kinds[address] for address in reported if self._paths.get(address) is not kinds[address]}
        return None if revision == self._revision and not changed else changed

    def told(self, revision: int, paths: Mapping[VirtualIP, PathKind], now: float) -> None:
        """It was told this now."""
        self.at, self._revision = now, revision
        self._paths.update(paths)
