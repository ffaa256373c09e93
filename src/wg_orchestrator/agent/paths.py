"""Which of a peer's endpoints to send to. Nothing here sends, waits or asks the time.

WireGuard itself goes to wherever the last authentic packet of a peer came from. So what works is left alone; a choice
is made only for a peer that can't be reached.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from wg_orchestrator.agent.tunnel import KEEPALIVE, IPInterface, Observed
from wg_orchestrator.domain.endpoint import Endpoint, is_private, is_reachable
from wg_orchestrator.domain.path_kind import PathKind

TRIAL = 5.0
"""Seconds that an endpoint has to answer a handshake: WireGuard sends the next one after as many (REKEY_TIMEOUT)."""
ATTEMPTS = (0.2, 1.0, 2.5)
"""Seconds after which a handshake is begun in the first trials. Not at once: the other machine has just heard of this
one, and drops the packets of peers that it has not configured yet.
"""
LONG_TRIAL = 30.0
"""The same once all endpoints have been tried a few times: the peer is probably off."""
SHORT_ROUNDS = 3
"""Rounds through all endpoints with the shorter time."""
SILENCE = 20.0
"""Seconds after which data that was sent should have brought something back: the receiver of data that has nothing to
send answers after 10 (KEEPALIVE_TIMEOUT), and a handshake that gets no answer is repeated after 5.
"""
_EMPTY = 32
"""Bytes of a packet without data. One to keep a mapping open gets no answer."""


class Reason(Enum):
    """Why a peer is not reached."""

    NO_ENDPOINT = "no-endpoint"
    NO_HANDSHAKE = "no-handshake"
    SYMMETRIC_NAT = "symmetric-nat"
    """As before; and one of both is behind a NAT that has a port for each destination, so that the other one can't know
    where to send to.
    """


@dataclass(frozen=True, slots=True)
class Here:
    """Where this machine is: its addresses, with the networks that they are in."""

    addresses: tuple[IPInterface, ...] = ()

    def is_near(self, endpoint: Endpoint) -> bool:
        """Whether it is in one of this machine's own networks."""
        return any(endpoint.address in address.network for address in self.addresses)

    def has(self, endpoint: Endpoint) -> bool:
        """Whether it is this machine itself."""
        return any(endpoint.address == address.ip for address in self.addresses)

    def speaks(self, version: int) -> bool:
        """Whether this machine has an address of this version of IP."""
        return any(address.version == version for address in self.addresses)

    @property
    def is_public(self) -> bool:
        """Whether it has an address that is its own everywhere."""
        return any(is_reachable(address.ip) and not is_private(address.ip) for address in self.addresses)

    def candidates(self, endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """A peer's endpoints in the order in which to try them: first those in the same network, then public ones, then
        private networks that a route may lead to. Within these the peer's own order stays.
        """
        usable = [one for one in endpoints if not self.has(one) and self.speaks(one.address.version)]
        return tuple(sorted(usable, key=lambda one: 0 if self.is_near(one) else 2 if is_private(one.address) else 1))

    def keepalive(self, endpoint: Endpoint | None) -> int:
        """Seconds between packets to a peer at this endpoint. There need be none if no NAT is in between."""
        if endpoint is None:
            return 0
        is_open = self.is_near(endpoint) or (self.is_public and not is_private(endpoint.address))
        return 0 if is_open else KEEPALIVE


@dataclass(frozen=True, slots=True)
class Path:
    """What is known of the way to one peer. All times are Unix seconds, as `latest_handshake` is."""

    trial: Endpoint | None = None
    """The endpoint that is being tried; None if what there is works, or if there is nothing to try."""
    since: float = 0.0
    """When the trial began."""
    trials: int = 0
    """How many endpoints have been tried in a row."""
    attempts: int = 0
    """How many handshakes have been begun in this trial."""
    heard: float | None = None
    """When something last came from the peer, as far as was seen; None before the first look."""
    rx_bytes: int = 0
    tx_bytes: int = 0
    """What had come from the peer and gone to it by then, or when the trial began."""
    listed: tuple[Endpoint, ...] = ()
    """What there was to try when this was decided."""
    waits: bool = False
    """Whether the trial has yet to begin, since others are tried now."""

    @property
    def is_urgent(self) -> bool:
        """Whether the trial is to be over soon, one way or the other."""
        return self.trial is not None and self.trials <= SHORT_ROUNDS * len(self.listed)

    def next_look(self) -> float | None:
        """When the tunnel has to be looked at again; None if there is no haste."""
        if self.trial is None or self.waits or not self.is_urgent:
            return None
        return self.since + (ATTEMPTS[self.attempts] if self.attempts < len(ATTEMPTS) else TRIAL)

    def step(self, candidates: Sequence[Endpoint], tunnel: Observed, now: float) -> "Path":
        """The path after a look at the tunnel. With another trial than before, the interface has to be told."""
        candidates = tuple(candidates)
        if now < max(self.since, self.heard or 0.0):  # The clock was put back: all of that was at most now.
            return replace(self, since=now, heard=now).step(candidates, tunnel, now)
        if self.trial is not None and self._has_answered(tunnel):
            return _works(candidates, tunnel, now)
        if not candidates:
            return _works(candidates, tunnel, now) if self.trial is not None else self._look(candidates, tunnel, now)
        if self.trial is None:
            seen = self._look(candidates, tunnel, now)
            is_lost = self._is_withdrawn(candidates, tunnel) or _is_silent(seen, tunnel, now)
            return _try(0, candidates, tunnel, now) if is_lost else seen
        if candidates != self.listed and self.trial != candidates[0]:
            return _try(0, candidates, tunnel, now)
        if self.waits:
            return replace(self, listed=candidates)
        if now - self.since >= (TRIAL if self.is_urgent else LONG_TRIAL):
            return _try(self.trials, candidates, tunnel, now)
        is_due = self.attempts < len(ATTEMPTS) and now - self.since >= ATTEMPTS[self.attempts]
        return replace(self, listed=candidates, attempts=self.attempts + is_due)

    def begun(self, now: float) -> "Path":
        """The path whose turn it is."""
        return replace(self, since=now, waits=False) if self.waits else self

    def again(self, now: float) -> "Path":
        """The path of a peer that is to be tried anew from its first endpoint on, if it is not reached."""
        return self if self.trial is None else replace(self, since=now - TRIAL, trials=0, waits=False)

    def waiting(self, now: float) -> "Path":
        """The path whose turn it is not. The peer may still be heard of meanwhile."""
        return self if self.waits else replace(self, since=now, attempts=0, waits=True)

    def kind(self, tunnel: Observed, here: Here) -> tuple[PathKind, Reason | None]:
        """How the peer is reached, or why it is not."""
        if tunnel.endpoint is None:
            return PathKind.NONE, Reason.NO_ENDPOINT
        if tunnel.latest_handshake is None or (self.trial is not None and not self._has_answered(tunnel)):
            return PathKind.NONE, Reason.NO_HANDSHAKE
        return (PathKind.LAN if here.is_near(tunnel.endpoint) else PathKind.DIRECT), None

    def _look(self, candidates: tuple[Endpoint, ...], tunnel: Observed, now: float) -> "Path":
        if self.heard is None or tunnel.rx_bytes != self.rx_bytes:
            return _works(candidates, tunnel, now)
        return replace(self, listed=candidates)

    def _is_withdrawn(self, candidates: tuple[Endpoint, ...], tunnel: Observed) -> bool:
        """Whether the endpoint in use is one that the peer has named, and does not name any more."""
        return tunnel.endpoint in self.listed and tunnel.endpoint not in candidates

    def _has_answered(self, tunnel: Observed) -> bool:
        # What comes by the session that there was counts too: WireGuard then knows where the peer is.
        newer = tunnel.latest_handshake is not None and tunnel.latest_handshake > self.since
        return newer or tunnel.rx_bytes > self.rx_bytes


def is_symmetric(seen: Sequence[Endpoint]) -> bool:
    """Whether a machine that is seen at these endpoints, at the same time, is behind a NAT that has a port for each
    destination.
    """
    return len(seen) >= 2 and seen[0].address == seen[1].address and seen[0].port != seen[1].port


def _is_silent(path: Path, tunnel: Observed, now: float) -> bool:
    """Whether the peer has had time enough to answer and did not. One to which nothing is sent is not silent."""
    if tunnel.latest_handshake is None or path.heard is None:
        return True
    since = now - path.heard
    empty = _EMPTY * (since // KEEPALIVE + 1)
    return since > SILENCE and tunnel.tx_bytes - path.tx_bytes > empty


def _works(candidates: tuple[Endpoint, ...], tunnel: Observed, now: float) -> Path:
    return Path(None, now, 0, 0, now, tunnel.rx_bytes, tunnel.tx_bytes, candidates)


def _try(trials: int, candidates: tuple[Endpoint, ...], tunnel: Observed, now: float) -> Path:
    """Try the next endpoint after so many."""
    trial = candidates[trials % len(candidates)]
    return Path(trial, now, trials + 1, 0, now, tunnel.rx_bytes, tunnel.tx_bytes, candidates)
