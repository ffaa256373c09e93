import base64
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from wg_orchestrator.adapters.rendezvous import primitives as p
from wg_orchestrator.adapters.rendezvous.rendezvous import Claim, Rendezvous
from wg_orchestrator.adapters.rendezvous.udp import UdpRendezvous
from wg_orchestrator.domain.endpoint import Endpoint, IPAddress
from wg_orchestrator.domain.peer import PublicKey
from wg_orchestrator.domain.ports import Challenge
from wg_orchestrator.settings.unusable import Unusable
from wg_orchestrator.telemetry.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class _Waiting:
    claim: Claim
    dropped: Callable[[], None]


class UdpChallenger:
    """The port `Challenger`, by WireGuard's handshake over UDP."""

    def __init__(
        self, private_key: bytes, host: str, port: int, endpoints: Sequence[Endpoint], telemetry: Telemetry
    ) -> None:
        """It listens on `host`, an address or a name, and `port`; 0 picks a free one. `endpoints` is what peers are
        told; without any, it is the address that they have reached the service at, and the port.
        """
        self._core = Rendezvous(private_key)
        self._udp = UdpRendezvous(self._core)
        self._public_key = PublicKey(base64.b64encode(self._core.public_key).decode())
        self._host = host
        self._port = port
        self._endpoints = tuple(endpoints)
        self._claims: dict[Challenge, _Waiting] = {}
        self._challenges: dict[Claim, Challenge] = {}
        telemetry.counts(
            "rendezvous_datagrams", "Datagrams that the rendezvous got, by what became of them", "outcome",
            lambda: self._core.outcomes,
        )  # fmt: skip
        telemetry.gauge("rendezvous_claims", "Claims on keys, proven or not", lambda: len(self._claims))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer handshakes meanwhile. Raises Unusable."""
        try:
            async with self._udp.running(_addresses(self._host, self._port)) as bound:
                self._port = bound[0].port
                yield
        except OSError as error:
            raise Unusable(
                f"can't use UDP port {self._port} of {self._host} for the rendezvous: {error.strerror}"
            ) from error

    @property
    def rendezvous(self) -> PublicKey:
        """See the port."""
        return self._public_key

    @property
    def port(self) -> int:
        """The UDP port; the one that was picked, once it is running."""
        return self._port

    def claim(
        self,
        public_key: PublicKey,
        source: IPAddress | None,
        reached_at: IPAddress | None,
        seen: Callable[[Endpoint], None],
        dropped: Callable[[], None],
    ) -> Challenge:
        """See the port."""
        preshared_key = os.urandom(p.KEY_BYTES)
        claim, evicted = self._core.claim(base64.b64decode(public_key.text), preshared_key, seen, source)
        own = () if reached_at is None else (Endpoint(reached_at, self._port),)
        text = base64.b64encode(preshared_key).decode()
        challenge = Challenge(self._public_key, text, self._endpoints or own)
        self._claims[challenge] = _Waiting(claim, dropped)
        self._challenges[claim] = challenge
        if evicted is not None:
            self._forget(self._challenges[evicted]).dropped()
        return challenge

    def release(self, challenge: Challenge) -> None:
        """See the port."""
        if challenge in self._claims:
            self._core.release(self._forget(challenge).claim)

    def _forget(self, challenge: Challenge) -> _Waiting:
        waiting = self._claims.pop(challenge)
        del self._challenges[waiting.claim]
        return waiting


def _addresses(host: str, port: int) -> list[Endpoint]:
    """Raises OSError if the name is nobody's."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    addresses = {ip_address(at[0].partition("%")[0]) for *_, at in found if isinstance(at[0], str)}
    if host == "::":  # As the listener for peers, which takes IPv4, too.
        addresses.add(ip_address("0.0.0.0"))
    return [Endpoint(address, port) for address in sorted(addresses, key=lambda address: -address.version)]
