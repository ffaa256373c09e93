from ipaddress import ip_interface, ip_network

from tests.builders import a_key
from wg_orchestrator.agent.paths import Here
from wg_orchestrator.agent.tunnel import IPNetwork, Observed, Tunnel
from wg_orchestrator.domain.endpoint import Endpoint

NETWORK = ip_network("100.64.0.0/10")


def endpoint(text: str) -> Endpoint:
    return Endpoint.parse(text)


def endpoints(*texts: str) -> tuple[Endpoint, ...]:
    return tuple(map(Endpoint.parse, texts))


def allowed(*networks: str) -> frozenset[IPNetwork]:
    return frozenset(map(ip_network, networks))


def tunnel(number: int, at: str | None = None, keepalive: int = 0, network: str | None = None) -> Tunnel:
    return Tunnel(
        a_key(number), allowed(network or f"100.64.0.{number}/32"), None if at is None else endpoint(at), keepalive
    )


def observed(
    number: int, at: str | None = None, keepalive: int = 0, handshake: float | None = None, rx: int = 0, tx: int = 0
) -> Observed:
    want = tunnel(number, at, keepalive)
    return Observed(want.public_key, want.allowed_ips, want.endpoint, keepalive, handshake, rx, tx)


def here(*addresses: str) -> Here:
    return Here(tuple(map(ip_interface, addresses)))
