"""The tunnels of an interface, kept as the tenant's picture and the choice among endpoints say."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from wg_orchestrator.agent.paths import Here, Path
from wg_orchestrator.agent.plan import Change, RemoveTunnel, SetAddress, SetRoute, SetTunnel, plan
from wg_orchestrator.agent.rendezvous import Rendezvous
from wg_orchestrator.agent.tunnel import KEEPALIVE, Actual, IPNetwork, Observed, Tunnel, Wished
from wg_orchestrator.agent.turns import Turns
from wg_orchestrator.agent.wishes import Wishes
from wg_orchestrator.client.picture import Picture
from wg_orchestrator.domain.path_kind import PathKind
from wg_orchestrator.domain.peer import PublicKey, VirtualIP

_SESSION = 180.0
"""Seconds."""


class Weave:
    """What the interface is like as far as is known, what it should be like, and the paths to all peers."""

    def __init__(self, picture: Picture, wishes: Wishes) -> None:
        self.here = Here()
        self.actual = Actual()
        self._picture = picture
        self._wishes = wishes
        self._paths: dict[PublicKey, Path] = {}
        self._turns = Turns()
        self.rendezvous = Rendezvous()

    def next_look(self) -> float | None:
        """When a tunnel has to be looked at again; None if there is no haste."""
        looks = [path.next_look() for path in (self.rendezvous.path, *self._paths.values())]
        return min((look for look in looks if look is not None), default=None)

    def path(self, key: PublicKey) -> Path:
        """What is known of the way to this peer."""
        return self._paths.get(key, Path())

    def kinds(self) -> dict[VirtualIP, PathKind]:
        """How each peer is reached that there is a tunnel to."""
        tunnels = self.actual.tunnels
        return {
            peer.virtual_ip: self.path(key).kind(tunnels[key], self.here)[0]
            for key, peer in self._picture.peers.items()
            if key in tunnels
        }

    def changes(self, now: float) -> list[Change]:
        """All that the interface lacks. `actual` has just been read."""
        allowed = self._wishes.allowed_ips(now)
        self._paths = {key: path for key, path in self._paths.items() if key in allowed}
        return self._plan(allowed, None, now)

    def changes_of(self, keys: Iterable[PublicKey], now: float) -> list[Change]:
        """What it lacks of these peers, who have come or gone."""
        allowed: dict[PublicKey, frozenset[IPNetwork]] = {}
        for key in keys:
            allowed_ips = self._wishes.allowed_ips_of(key)
            if allowed_ips is not None:
                allowed[key] = allowed_ips
            else:
                self._paths.pop(key, None)
        return self._plan(allowed, keys, now)

    def greet_rendezvous(self, now: float) -> list[Change]:
        """What the tunnel to the rendezvous lacks. That needs no picture of the tenant."""
        return self.rendezvous.changes(self.here, self.actual.tunnels, now)

    def try_again(self, now: float) -> None:
        """Try all peers that are not reached from their first endpoints on."""
        self._paths = {key: path.again(now) for key, path in self._paths.items()}

    def greetings(self) -> list[Change]:
        """Have each peer hear from this machine at once, so that it knows where this machine is now."""
        # With its endpoint, as WireGuard in userspace sends from the address that it sent from before, even if that is
        # gone, until it is told where to send to.
        return [
            SetTunnel(key, endpoint=tunnel.endpoint, keepalive=tunnel.keepalive, sends_now=True)
            for key, tunnel in self.actual.tunnels.items()
            if tunnel.endpoint is not None and tunnel.latest_handshake is not None
        ]

    def applied(self, changes: Iterable[Change]) -> None:
        """These changes were made: `actual` is as of them."""
        tunnels = dict(self.actual.tunnels)
        addresses, routes = self.actual.addresses, self.actual.routes
        for change in changes:
            match change:
                case SetAddress(address):
                    addresses = frozenset({address})
                case SetRoute(network):
                    routes = frozenset({network})
                case RemoveTunnel(key):
                    tunnels.pop(key, None)
                case SetTunnel():
                    tunnels[change.public_key] = _after(change, tunnels.get(change.public_key))
        self.actual = Actual(addresses, routes, tunnels)

    def _plan(
        self, allowed: Mapping[PublicKey, frozenset[IPNetwork]], keys: Iterable[PublicKey] | None, now: float
    ) -> list[Change]:
        # Whoever joins with the key of the rendezvous gets nothing by it.
        allowed = {key: allowed_ips for key, allowed_ips in allowed.items() if key != self.rendezvous.key}
        due = [key for key in allowed if self._step(key, now)]
        silenced = self._take_turns(allowed, now)
        address, network = self._picture.virtual_ip, self._picture.network
        if address is None or network is None:
            return []
        tunnels = {key: self._tunnel(key, allowed_ips) for key, allowed_ips in allowed.items()}
        others = {key: tunnel for key, tunnel in self.actual.tunnels.items() if key != self.rendezvous.key}
        changes = plan(Wished(address, network, tunnels), replace(self.actual, tunnels=others), keys)
        attempts = [self._attempt(key, tunnels[key]) for key in due if not self._paths[key].waits]
        return changes + silenced + attempts

    def _step(self, key: PublicKey, now: float) -> bool:
        """Look at the way to this peer. Whether a handshake is to begin now."""
        seen = self.actual.tunnels.get(key)
        if seen is None:  # It is new, or the whole interface is.
            seen, before = Observed(key, frozenset()), Path()
        else:
            before = self.path(key)
        path = before.step(self.here.candidates(self._wishes.endpoints(key)), seen, now)
        self._paths[key] = path
        return path.attempts > before.attempts

    def _take_turns(self, allowed: Mapping[PublicKey, frozenset[IPNetwork]], now: float) -> list[Change]:
        """Let as many of those that can't be reached be tried as may be at one time, and silence the others. `allowed`
        is what is given in the same step: a peer that is silenced must not take an address back.
        """
        given = frozenset[IPNetwork]().union(*allowed.values())
        turns = self._turns.give(self._paths, now)
        silenced: list[Change] = []
        for key, path in self._paths.items():
            if path.trial is None:
                continue
            self._paths[key] = path.begun(now) if key in turns else path.waiting(now)
            tunnel = self.actual.tunnels.get(key)
            # WireGuard repeats a handshake for as long as a minute and a half, unless it forgets the peer.
            if key not in turns and tunnel is not None and tunnel.keepalive and not _has_session(tunnel, now):
                endpoint = tunnel.endpoint or path.trial
                allowed_ips = allowed.get(key, tunnel.allowed_ips - given)
                silenced.append(SetTunnel(key, False, endpoint, allowed_ips, 0, begins_anew=True))
        return silenced

    def _tunnel(self, key: PublicKey, allowed_ips: frozenset[IPNetwork]) -> Tunnel:
        path, seen = self._paths[key], self.actual.tunnels.get(key)
        if path.trial is None:
            return Tunnel(key, allowed_ips, None, self.here.keepalive(None if seen is None else seen.endpoint))
        endpoint = None if path.waits and seen is not None else path.trial
        return Tunnel(key, allowed_ips, endpoint, 0 if seen is None else seen.keepalive)

    def _attempt(self, key: PublicKey, tunnel: Tunnel) -> SetTunnel:
        """Have WireGuard begin a handshake. It goes on by itself for as long as there is a keepalive."""
        if self.actual.tunnels[key].latest_handshake is None:
            return SetTunnel(key, False, tunnel.endpoint, tunnel.allowed_ips, KEEPALIVE, begins_anew=True)
        return SetTunnel(key, keepalive=KEEPALIVE, sends_now=True)


def _has_session(tunnel: Observed, now: float) -> bool:
    """Whether there may be keys that still hold (WireGuard's whitepaper, section 6.2: REJECT_AFTER_TIME)."""
    return tunnel.latest_handshake is not None and now - tunnel.latest_handshake < _SESSION


def _after(change: SetTunnel, before: Observed | None) -> Observed:
    before = before or Observed(change.public_key, frozenset())
    return Observed(
        before.public_key,
        before.allowed_ips if change.allowed_ips is None else change.allowed_ips,
        change.endpoint or before.endpoint,
        before.keepalive if change.keepalive is None else change.keepalive,
        before.latest_handshake,
        before.rx_bytes,
        before.tx_bytes,
    )
