"""Which peers the interface should have, by what the service says of the tenant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wg_orchestrator.agent.tunnel import IPNetwork, Observed, alone
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.domain.endpoint import Endpoint, may_be_reached
from wg_orchestrator.domain.peer import Peer, PublicKey
from wg_orchestrator.wire.v2.notices import Message, Welcome


@dataclass(frozen=True, slots=True)
class _Kept:
    """A peer that the service does not know, since it has forgotten everybody: it has time to come back."""

    allowed_ips: frozenset[IPNetwork]
    until: float


class Wishes:
    """Turns a picture of the tenant into the tunnels that there should be: what each peer's allowed IPs are.

    After a welcome of another session, which is what a service says that has lost its memory, the peers that are not
    in it keep their tunnels for the grace. So the restart of a service disturbs no tunnel.

    A service may say anything. A peer with this machine's own key or address, or with an address outside the network,
    gets no tunnel, and an endpoint that nobody can be reached at is passed over.
    """

    def __init__(self, own: PublicKey, picture: Picture, session: str = "") -> None:
        """`session` is the one that this machine had before, if it is known."""
        self._own = own
        self._picture = picture
        self._session = session
        self._kept: dict[PublicKey, _Kept] = {}

    def take(self, message: Message, tunnels: Mapping[PublicKey, Observed], now: float) -> None:
        """The service has said this, and the picture is as of it; `tunnels` are those that the interface has now."""
        if not isinstance(message, Welcome):
            return
        self._kept = {key: kept for key, kept in self._kept.items() if key not in self._picture.peers}
        if message.session != self._session:
            missing = {key: tunnel for key, tunnel in tunnels.items() if key not in self._picture.peers}
            until = now + message.grace
            self._kept = {key: _Kept(tunnel.allowed_ips, until) for key, tunnel in missing.items()}
        self._session = message.session

    def heard_of(self, key: PublicKey) -> None:
        """The peer has come or gone: from now on it is as the service says, without a grace."""
        self._kept.pop(key, None)

    def allowed_ips(self, now: float) -> dict[PublicKey, frozenset[IPNetwork]]:
        """What each peer's tunnel should lead to. Each address leads to one peer."""
        wanted = {peer.public_key: alone(peer.virtual_ip) for peer in sound_peers(self._picture, self._own)}
        self._kept = {key: kept for key, kept in self._kept.items() if kept.until > now}
        if self._kept:
            own = self._picture.virtual_ip
            taken = frozenset[IPNetwork]().union(*wanted.values(), alone(own) if own is not None else ())
            for key, kept in self._kept.items():
                if key not in wanted and not kept.allowed_ips & taken:
                    wanted[key] = kept.allowed_ips
        return wanted

    def allowed_ips_of(self, key: PublicKey) -> frozenset[IPNetwork] | None:
        """The same for one peer that the service has just spoken of; None if it should have no tunnel."""
        peer = self._picture.peers.get(key)
        return alone(peer.virtual_ip) if peer is not None and _is_sound(peer, self._picture, self._own) else None

    def next_end(self) -> float | None:
        """When the next peer's time to come back is over."""
        return min((kept.until for kept in self._kept.values()), default=None)

    def endpoints(self, key: PublicKey) -> tuple[Endpoint, ...]:
        """Where this peer says that it can be reached."""
        peer, network = self._picture.peers.get(key), self._picture.network
        if peer is None or network is None:
            return ()
        return tuple(endpoint for endpoint in peer.endpoints if may_be_reached(endpoint, network))


def sound_peers(picture: Picture, own: PublicKey) -> Iterable[Peer]:
    """Those peers of whom the service says nothing that can't be: they are neither this machine, nor outside of the
    network.
    """
    return (peer for peer in picture.peers.values() if _is_sound(peer, picture, own))


def _is_sound(peer: Peer, picture: Picture, own: PublicKey) -> bool:
    address, network = peer.virtual_ip, picture.network
    return peer.public_key != own and address != picture.virtual_ip and network is not None and address in network
