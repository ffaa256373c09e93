import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from harness.keys import a_key_text
from wg_orchestrator.domain.endpoint import Endpoint, IPAddress
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.ports import Challenge

KEPT = 3


@dataclass
class _Claim:
    challenge: Challenge
    source: IPAddress | None
    seen: Callable[[Endpoint], None]
    dropped: Callable[[], None]
    at: Endpoint | None = None


class FakeChallenger:
    """A Challenger whose keys are proven by the test."""

    def __init__(self, *endpoints: Endpoint) -> None:
        """`endpoints` are where it can be met; without any, one at the address that was reached."""
        self.rendezvous = PublicKey.parse(a_key_text(10_000))
        self.challenges: list[Challenge] = []
        """All, the last one last."""
        self._endpoints = endpoints
        self._claims: dict[PublicKey, list[_Claim]] = {}
        self._numbers = itertools.count(1)

    @property
    def waiting(self) -> int:
        """How many claims there are, proven or not."""
        return sum(map(len, self._claims.values()))

    def claim(
        self,
        public_key: PublicKey,
        source: IPAddress | None,
        reached_at: IPAddress | None,
        seen: Callable[[Endpoint], None],
        dropped: Callable[[], None],
    ) -> Challenge:
        preshared_key = base64.b64encode(next(self._numbers).to_bytes(32, "big")).decode()
        own = () if reached_at is None else (Endpoint(reached_at, 51820),)
        challenge = Challenge(self.rendezvous, preshared_key, self._endpoints or own)
        claims = self._claims.setdefault(public_key, [])
        unproven = [claim for claim in claims if claim.at is None]
        claims.append(_Claim(challenge, source, seen, dropped))
        self.challenges.append(challenge)
        if len(unproven) >= KEPT:
            sources = [claim.source for claim in unproven] + [source]
            gone = max(unproven, key=lambda claim: sources.count(claim.source))
            claims.remove(gone)
            gone.dropped()
        return challenge

    def release(self, challenge: Challenge) -> None:
        for claims in self._claims.values():
            claims[:] = [claim for claim in claims if claim.challenge != challenge]

    def prove(self, challenge: Challenge, at: Endpoint) -> None:
        """The owner of the key answers this challenge from there."""
        for claim in [claim for claims in self._claims.values() for claim in claims]:
            if claim.challenge == challenge and claim.at != at:
                claim.at = at
                claim.seen(at)
