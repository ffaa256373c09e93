from collections.abc import Collection

from wg_orchestrator.domain.events import assert_never
from wg_orchestrator.domain.ip_allocator import Network
from wg_orchestrator.domain.peer import Peer, PublicKey, VirtualIP
from wg_orchestrator.wire.errors import BadMessage
from wg_orchestrator.wire.v2.notices import (
    MAX_PEERS,
    Joined,
    Left,
    Message,
    Prove,
    Proven,
    Resumed,
    Updated,
    Welcome,
)


class Picture:
    """A client's picture of its tenant by protocol v2: a welcome, and each notice after it, applied in order.

    Two clients of one tenant that have applied the same revision have the same picture, each without itself.
    """

    def __init__(self, max_peers: int = MAX_PEERS, *, session: str = "", virtual_ip: VirtualIP | None = None) -> None:
        """`session` and `virtual_ip`: those that the client had before, in an earlier life of its process."""
        self.revision: int | None = None
        """None before the first welcome."""
        self.session = session
        """A secret; empty before the welcome, and if the service has no sessions."""
        self.grace = 0
        """Seconds for which the session outlives its connection."""
        self.virtual_ip = virtual_ip
        """The client's own, once it is welcomed; the one that it would like to have, before that."""
        self.network: Network | None = None
        self.peers: dict[PublicKey, Peer] = {}
        """The others."""
        self._at: dict[VirtualIP, PublicKey] = {}
        self._max_peers = max_peers

    def forget(self) -> None:
        """Forget the peers, but not the client's own place: whoever comes next gives the whole picture."""
        self.revision = None
        self.peers, self._at = {}, {}

    def peers_now(self) -> Collection[Peer]:
        """The others, as they are now."""
        return self.peers.values()

    def apply(self, message: Message) -> None:
        """Apply one message of the service. Raises BadMessage if it contradicts the picture, or would make it too
        large; then the picture is as it was.
        """
        match message:
            case Welcome():
                self._begin(message)
            case Resumed():
                if (message.revision, message.virtual_ip) != (self.revision, self.virtual_ip):
                    raise BadMessage("resumed with another revision or address than the client's")
                self.session, self.grace, self.network = message.session, message.grace, message.network
            case Joined(revision, peer):
                self._require_later(revision)
                self._require_room(len(self.peers) + 1)
                if peer.public_key in self.peers or peer.virtual_ip in self._at or peer.virtual_ip == self.virtual_ip:
                    raise BadMessage(f"{peer.virtual_ip} joined twice")
                self._put(peer)
                self.revision = revision
            case Updated(revision, peer):
                self._require_later(revision)
                self._require_known(peer.public_key, peer.virtual_ip)
                self.peers[peer.public_key] = peer
                self.revision = revision
            case Left(revision, public_key, virtual_ip):
                self._require_later(revision)
                self._require_known(public_key, virtual_ip)
                del self.peers[public_key], self._at[virtual_ip]
                self.revision = revision
            case Prove() | Proven():
                pass
            case _:
                assert_never(message)

    def _begin(self, welcome: Welcome) -> None:
        self._require_room(len(welcome.peers))
        peers = {peer.public_key: peer for peer in welcome.peers}
        at = {peer.virtual_ip: peer.public_key for peer in welcome.peers}
        if not len(peers) == len(at) == len(welcome.peers) or welcome.virtual_ip in at:
            raise BadMessage("a welcome with one address or key twice")
        self.revision, self.session, self.grace = welcome.revision, welcome.session, welcome.grace
        self.virtual_ip, self.network = welcome.virtual_ip, welcome.network
        self.peers, self._at = peers, at

    def _put(self, peer: Peer) -> None:
        self.peers[peer.public_key] = peer
        self._at[peer.virtual_ip] = peer.public_key

    def _require_later(self, revision: int) -> None:
        if self.revision is None:
            raise BadMessage("a notice before the welcome")
        if revision <= self.revision:
            raise BadMessage(f"revision {revision} after {self.revision}")

    def _require_known(self, public_key: PublicKey, virtual_ip: VirtualIP) -> None:
        if self._at.get(virtual_ip) != public_key:
            raise BadMessage(f"{virtual_ip} was never there with that key")

    def _require_room(self, peers: int) -> None:
        if peers > self._max_peers:
            raise BadMessage(f"more than {self._max_peers} peers")
