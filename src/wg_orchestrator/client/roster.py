from collections.abc import Collection

from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.domain.peer import Peer, VirtualIP
from wg_orchestrator.wire.v1 import MAX_PEERS, BadMessage, Joined, Left, Message, Welcome


class Roster:
    """A client's picture of its tenant: the welcome, and each notice after it, applied in order."""

    def __init__(self, max_peers: int = MAX_PEERS) -> None:
        self.virtual_ip: VirtualIP | None = None
        """The client's own, once it is welcomed."""
        self.peers: dict[VirtualIP, Peer] = {}
        """The others."""
        self._max_peers = max_peers

    def peers_now(self) -> Collection[Peer]:
        """The others, as they are now."""
        return self.peers.values()

    def apply(self, message: Message) -> None:
        """Apply one message of the service. Raises BadMessage if it contradicts the picture, or would make
        it too large.
        """
        match message:
            case Welcome(virtual_ip, peers):
                self._require_room(len(peers))
                self.virtual_ip = virtual_ip
                self.peers = {peer.virtual_ip: peer for peer in peers}
                if len(self.peers) < len(peers) or virtual_ip in self.peers:
                    raise BadMessage("a welcome with one address twice")
            case Joined(peer):
                if peer.virtual_ip in self.peers or peer.virtual_ip == self.virtual_ip:
                    raise BadMessage(f"{peer.virtual_ip} joined twice")
                self._require_room(len(self.peers) + 1)
                self.peers[peer.virtual_ip] = peer
            case Left(virtual_ip):
                if self.peers.pop(virtual_ip, None) is None:
                    raise BadMessage(f"{virtual_ip} left and was never there")
            case _:
                assert_never(message)

    def _require_room(self, peers: int) -> None:
        if peers > self._max_peers:
            raise BadMessage(f"more than {self._max_peers} peers")
