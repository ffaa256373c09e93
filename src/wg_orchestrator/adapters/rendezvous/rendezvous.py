import itertools
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from wg_orchestrator.adapters.rendezvous import handshake, session
from wg_orchestrator.adapters.rendezvous.cookies import Cookies
from wg_orchestrator.adapters.rendezvous.handshake import Refused, Responder
from wg_orchestrator.adapters.rendezvous.rates import Bucket, SourceRates
from wg_orchestrator.adapters.rendezvous.session import Session
from wg_orchestrator.domain.endpoint import Endpoint, IPAddress


@dataclass(frozen=True, slots=True)
class RendezvousLimits:
    """What the rendezvous bears, and from when on it asks for more."""

    calm_rate: float = 500.0
    """Initiations per second up to which no cookie is asked for."""
    source_rate: float = 20.0
    """Initiations per second from one source, once a cookie is asked for."""
    source_burst: float = 5.0
    claims_per_key: int = 3
    """Claims on one key that wait for a proof."""


class Claim:
    """Somebody says that a key is theirs. Whoever shows it has the key and this claim's preshared key."""

    __slots__ = ("answers", "current", "endpoint", "key", "number", "pending", "preshared_key", "source", "told")

    def __init__(
        self,
        key: bytes,
        preshared_key: bytes,
        told: Callable[[Endpoint], None],
        number: int,
        source: IPAddress | None = None,
    ) -> None:
        """`told` is called with where the packets come from: once it is proven, and whenever that changes. Of two
        claims the earlier one has the lower `number`. `source` is where whoever claims it comes from.
        """
        self.source = source
        self.answers = 0
        """How many initiations were answered with its preshared key."""
        self.key = key
        self.preshared_key = preshared_key
        self.told = told
        self.number = number
        self.endpoint: Endpoint | None = None
        """Where its packets come from; None before the proof."""
        self.pending: tuple[int, Session] | None = None
        """A session that was answered and not used yet, with its index."""
        self.current: tuple[int, Session] | None = None


class _Identity:
    """One claimed key."""

    __slots__ = ("claims", "secret", "timestamp")

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.timestamp = b""
        self.claims: list[Claim] = []


class Rendezvous:
    """Takes datagrams, and says what to answer and whose key is proven.

    The more its sender has shown, the more may a datagram cost: that it knows the service's public key; under load,
    that it gets what is sent to its address; that its key is claimed; that it has the private key. No source is sent
    more bytes than came from it.
    """

    def __init__(
        self, private_key: bytes, limits: RendezvousLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`private_key`: 32 bytes."""
        self._limits = limits or RendezvousLimits()
        self._clock = clock
        self._responder = Responder(private_key)
        self._cookies = Cookies(self._responder.public_key, clock)
        self._calm = Bucket(self._limits.calm_rate, self._limits.calm_rate, clock())
        self._sources = SourceRates(self._limits.source_rate, self._limits.source_burst, clock)
        self._identities: dict[bytes, _Identity] = {}
        self._claims: dict[int, Claim] = {}
        """By the index of each session."""
        self._numbers = itertools.count()
        self.outcomes: Counter[str] = Counter()
        """How many datagrams had which outcome."""

    @property
    def public_key(self) -> bytes:
        return self._responder.public_key

    def claim(
        self, key: bytes, preshared_key: bytes, told: Callable[[Endpoint], None], source: IPAddress | None = None
    ) -> tuple[Claim, Claim | None]:
        """A new claim on this key; and the one that it takes the place of, if too many wait for a proof: the oldest of
        the source that has the most.

        Raises ValueError if the key is no usable one.
        """
        identity = self._identities.get(key)
        if identity is None:
            identity = self._identities[key] = _Identity(self._responder.shared_secret(key))
        waiting = [claim for claim in identity.claims if claim.endpoint is None]
        evicted = None
        if len(waiting) >= self._limits.claims_per_key:
            counts = Counter([claim.source for claim in waiting] + [source])
            evicted = min(waiting, key=lambda claim: (-counts[claim.source], claim.number))
            self._forget(identity, evicted)
        claim = Claim(key, preshared_key, told, next(self._numbers), source)
        identity.claims.append(claim)
        return claim, evicted

    def release(self, claim: Claim) -> None:
        """Nobody waits for this claim any more, and its sessions are over. One that is gone is no error."""
        identity = self._identities.get(claim.key)
        if identity is None or claim not in identity.claims:
            return
        self._forget(identity, claim)
        if not identity.claims:
            del self._identities[claim.key]

    def datagram(self, message: bytes, source: Callable[[], Endpoint]) -> list[bytes]:
        """Take a datagram, and return what to send back to its source. `source` is asked only if the datagram is not
        garbage at first sight.
        """
        kind = message[:4]
        try:
            if kind == handshake.INITIATION and len(message) == handshake.INITIATION_BYTES:
                if not self._responder.is_addressed(message):
                    raise Refused("mac1")
                return self._initiation(message, source())
            if kind == session.TRANSPORT and len(message) >= session.LEAST_BYTES:
                claim = self._claims.get(session.receiver_of(message))
                if claim is None:
                    raise Refused("unknown session")
                self._transport(message, claim, source())
                return []
            raise Refused("no message for a responder")
        except Refused as refused:
            self.outcomes[refused.cause] += 1
            return []

    def _initiation(self, message: bytes, source: Endpoint) -> list[bytes]:
        if not self._calm.takes(self._clock()):
            if not self._cookies.is_shown(message, source):
                self.outcomes["cookie"] += 1
                return [self._cookies.reply(message, source)]
            if not self._sources.takes(source.address):
                raise Refused("source rate")
        initiation = self._responder.read(message, self._secret_of)
        identity = self._identities[initiation.static]
        if initiation.timestamp <= identity.timestamp:
            raise Refused("replayed initiation")
        identity.timestamp = initiation.timestamp
        # Only one gets the response, or it could be made larger than the initiation. WireGuard passes over one that is
        # not under its preshared key, and begins anew: then another one gets it. Whoever is connected from where the
        # initiation comes from is one turn ahead, so that strangers with the same key do not delay its owner.
        claim = min(identity.claims, key=lambda one: (one.answers - (one.source == source.address), -one.number))
        claim.answers += 1
        self.outcomes["answered"] += 1
        return [self._answer(initiation, claim)]

    def _answer(self, initiation: handshake.Initiation, claim: Claim) -> bytes:
        index = self._free_index()
        answer = self._responder.answer(initiation, index, claim.preshared_key)
        if claim.pending is not None:
            del self._claims[claim.pending[0]]
        claim.pending = index, Session(answer, self._clock())
        self._claims[index] = claim
        return answer.message

    def _transport(self, message: bytes, claim: Claim, source: Endpoint) -> None:
        index = session.receiver_of(message)
        is_pending = claim.pending is not None and claim.pending[0] == index
        one = claim.pending if is_pending else claim.current
        if one is None:
            raise Refused("unknown session")
        is_newest = one[1].receive(message, self._clock())
        if is_pending:
            if claim.current is not None:
                del self._claims[claim.current[0]]
            claim.current, claim.pending = claim.pending, None
        self.outcomes["alive" if claim.endpoint is not None else "proven"] += 1
        # A late packet must not move the endpoint back, nor one of a session that a newer one has replaced.
        if is_newest and source != claim.endpoint:
            claim.endpoint = source
            claim.told(source)

    def _secret_of(self, static: bytes) -> bytes | None:
        identity = self._identities.get(static)
        return None if identity is None else identity.secret

    def _free_index(self) -> int:
        while (index := int.from_bytes(os.urandom(4), "little")) in self._claims:
            pass
        return index

    def _forget(self, identity: _Identity, claim: Claim) -> None:
        identity.claims.remove(claim)
        for one in (claim.pending, claim.current):
            if one is not None:
                del self._claims[one[0]]
        claim.pending = claim.current = None
