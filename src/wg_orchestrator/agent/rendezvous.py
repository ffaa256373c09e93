"""The tunnel by which this machine proves its key, and shows where its packets come from."""

from collections.abc import Mapping
from dataclasses import replace

from wg_orchestrator.agent.paths import Here, Path, is_symmetric
from wg_orchestrator.agent.plan import Change, RemoveTunnel, SetTunnel
from wg_orchestrator.agent.tunnel import KEEPALIVE, Observed
from wg_orchestrator.domain.endpoint import Endpoint
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.wire.v2.notices import Prove

PATIENCE = 10.0
"""Seconds from a place in the tenant until the service asks for a proof, if it does."""


class Rendezvous:
    """A WireGuard peer without allowed IPs: it can send nothing into this machine's network. Each request of the
    service has a preshared key of its own, and the tunnel begins anew with it: only so it proves anything.
    """

    def __init__(self) -> None:
        self.path = Path()
        self._request: Prove | None = None
        self._before: PublicKey | None = None
        """The rendezvous of an earlier request, if that is another one."""
        self._is_new = False
        self._is_old = False
        """Whether the request came on a connection that has ended."""
        self._placed_at: float | None = None
        self._seen: tuple[Endpoint, ...] = ()
        self._is_answered = False
        """Whether the service has seen this machine since its last request."""

    @property
    def key(self) -> PublicKey | None:
        """Which of the interface's peers it is."""
        return None if self._request is None else self._request.public_key

    @property
    def is_symmetric(self) -> bool:
        """Whether this machine's NAT has a port for each destination."""
        return is_symmetric(self._seen)

    def asked(self, request: Prove) -> None:
        """The service asks for a proof."""
        if self._request is not None and self._request.public_key != request.public_key:
            self._before = self._request.public_key
        self._request, self._is_new, self._is_old, self._is_answered = request, True, False, False

    def proven(self, endpoint: Endpoint) -> None:
        """The service has seen this machine there."""
        # A second request, after the first one was answered, asks to be greeted at another endpoint.
        self._seen = (endpoint,) if self._is_answered else (*self._seen[-1:], endpoint)
        self._is_answered = True

    def lost(self) -> None:
        """The connection to the service has ended, and with it what it has asked for."""
        self._is_old, self._placed_at, self._seen = True, None, ()

    def placed(self, now: float) -> None:
        """The service has given this machine its place."""
        self._placed_at = now

    def changes(self, here: Here, tunnels: Mapping[PublicKey, Observed], now: float) -> list[Change]:
        """What the interface lacks of it."""
        request = self._request
        if request is None:
            return []
        removed: list[Change] = []
        if self._before is not None:
            removed, self._before = [RemoveTunnel(self._before)], None
        if self._is_old and self._placed_at is not None and now > self._placed_at + PATIENCE:
            self._request, self.path = None, Path()
            return [*removed, RemoveTunnel(request.public_key)]
        candidates = [endpoint for endpoint in request.endpoints if here.speaks(endpoint.address.version)]
        seen, before = tunnels.get(request.public_key), self.path
        if self._is_new or seen is None:
            self._is_new = False
            self.path = replace(Path().step(candidates, Observed(request.public_key, frozenset()), now), attempts=1)
        else:
            self.path = before.step(candidates, seen, now)
        trial = self.path.trial
        if trial is None or (self.path.since, self.path.attempts) == (before.since, before.attempts):
            return removed
        anew = SetTunnel(
            request.public_key, False, trial, frozenset(), KEEPALIVE, begins_anew=True,
            preshared_key=request.preshared_key,
        )  # fmt: skip
        return [*removed, anew]
