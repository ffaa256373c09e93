"""What newcomers show of their keys: that they are their own, and where their packets come from."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from wg_orchestrator.adapters.websocket.aim import is_in_between
from wg_orchestrator.adapters.websocket.arrival import Arrival
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry
from wg_orchestrator.domain.endpoint import Endpoint, parse_address
from wg_orchestrator.domain.errors import InvalidPublicKey
from wg_orchestrator.domain.ports import Challenge, Challenger
from wg_orchestrator.domain.proof import ProofPolicy
from wg_orchestrator.rfc6455.message import Notices, Text
from wg_orchestrator.wire.subprotocol import V2
from wg_orchestrator.wire.v2 import notices


@dataclass(frozen=True, slots=True)
class ProofTerms:
    """Times in seconds."""

    policy: ProofPolicy = ProofPolicy.OFF
    timeout: float = 10.0
    """For which a newcomer may be kept waiting for its proof."""
    interval: float = 10.0
    """Between two moves of one peer that are told."""


class Proofs:
    """Asks newcomers for proofs, as the policy says."""

    def __init__(self, challenger: Challenger | None, terms: ProofTerms, telemetry: PeerTelemetry) -> None:
        self._challenger = challenger
        self._terms = terms
        self._telemetry = telemetry
        self._waiting: set[Proof] = set()
        self._is_stopping = False

    @property
    def are_required(self) -> bool:
        return self._terms.policy is ProofPolicy.REQUIRED

    def of(self, arrival: Arrival) -> "Proof | None":
        """What can be asked of this arrival; None if nothing can.

        Raises InvalidPublicKey if it comes with the rendezvous' own key, which all peers have configured already.
        """
        if self._challenger is not None and arrival.newcomer.public_key == self._challenger.rendezvous:
            raise InvalidPublicKey("that is the rendezvous' key")
        if self._challenger is None or self._terms.policy is ProofPolicy.OFF or arrival.version != V2:
            return None
        return Proof(self._challenger, arrival, self._terms, self._telemetry)

    async def given(self, proof: "Proof | None") -> bool:
        """Wait until the newcomer has proven its key, or can't any more. Returns whether it has."""
        if proof is None or self._is_stopping:
            return False
        self._waiting.add(proof)
        try:
            with anyio.move_on_after(self._terms.timeout):
                await proof.settled()
        finally:
            self._waiting.discard(proof)
        return proof.is_given

    def stop(self) -> None:
        """Wait for nobody any more."""
        self._is_stopping = True
        for proof in self._waiting:
            proof.give_up()


class Proof:
    """The proof of one connection. Once it is given, and the rendezvous has another endpoint, it is asked for again
    there: if another port shows then, the peer's NAT has one for each destination, and both are told.
    """

    def __init__(self, challenger: Challenger, arrival: Arrival, terms: ProofTerms, telemetry: PeerTelemetry) -> None:
        self._challenger = challenger
        self._arrival = arrival
        self._interval = terms.interval
        self._telemetry = telemetry
        self._current: Challenge | None = None
        self._check: Challenge | None = None
        """The same at another endpoint, as long as that has not been answered."""
        self._asked = 0
        self._began = 0.0
        self._seen: tuple[Endpoint, ...] = ()
        self._settled = asyncio.Event()
        self._tell: Callable[[tuple[Endpoint, ...]], None] | None = None
        self._not_before = 0.0
        self._due: asyncio.TimerHandle | None = None

    @property
    def is_given(self) -> bool:
        return bool(self._seen)

    def ask(self) -> None:
        """Ask for it, if that was not done."""
        if not self._asked:
            self._began = time.perf_counter()
            self._current = self._challenge()

    async def settled(self) -> None:
        """Ask for it, and return when it is given, or can't be any more."""
        self.ask()
        await self._arrival.connection.flush()
        await self._settled.wait()

    def give_up(self) -> None:
        """Nobody is to wait for it any more."""
        self._settled.set()

    def follow(self, tell: Callable[[tuple[Endpoint, ...]], None]) -> None:
        """Have `tell` called with where the peer is seen, now and whenever that has changed, but not too often."""
        self._tell = tell
        if self._seen:
            tell(self._seen)

    def end(self) -> None:
        """The connection is over, and so is what was asked on it."""
        self._settled.set()
        if self._due is not None:
            self._due.cancel()
        for challenge in (self._current, self._check):
            if challenge is not None:
                self._challenger.release(challenge)

    def _challenge(self) -> Challenge:
        arrival = self._arrival
        challenge = self._challenger.claim(
            arrival.newcomer.public_key,
            parse_address(arrival.source),
            arrival.connection.local_address(),
            lambda endpoint: self._see(challenge, endpoint),
            lambda: self._dropped(challenge),
        )
        # Each time another endpoint is the first one.
        count = len(challenge.endpoints)
        endpoints = [challenge.endpoints[(number + self._asked) % count] for number in range(count)]
        self._asked += 1
        self._send(notices.prove(challenge.rendezvous, challenge.preshared_key, endpoints))
        return challenge

    def _see(self, challenge: Challenge, endpoint: Endpoint) -> None:
        if is_in_between(endpoint, self._arrival.source):
            self._telemetry.behind_something(self._arrival.source, str(endpoint))
        if not self._seen:
            self._telemetry.proven(time.perf_counter() - self._began)
        if challenge is self._check:
            if self._current is not None:
                self._challenger.release(self._current)
            self._current, self._check = challenge, None
            self._seen = tuple(dict.fromkeys((*self._seen[-1:], endpoint)))
            self._told()
            return
        self._seen = (endpoint,)
        self._settled.set()
        wait = self._not_before - time.monotonic()
        if wait <= 0:
            self._moved()
        elif self._due is None:
            self._due = asyncio.get_running_loop().call_later(wait, self._moved)

    def _moved(self) -> None:
        self._due = None
        self._not_before = time.monotonic() + self._interval
        self._told()
        if self._check is None and self._current is not None and len(self._current.endpoints) > 1:
            self._check = self._challenge()

    def _told(self) -> None:
        self._send(notices.proven(self._seen[-1]))
        if self._tell is not None:
            self._tell(self._seen)

    def _dropped(self, challenge: Challenge) -> None:
        if challenge is self._check:
            self._check = None
            return
        self._current = None
        self._settled.set()
        if self._tell is not None:  # It is in, unproven. It may still show that the key is its own.
            self._due = asyncio.get_running_loop().call_later(self._interval, self._ask_again)

    def _ask_again(self) -> None:
        self._due = None
        self._current = self._challenge()

    def _send(self, text: Text) -> None:
        self._arrival.connection.send(Notices([text]))
