"""Which of a peer's endpoints others are told."""

from typing import TypeAlias

from wg_orchestrator.domain.endpoint import (
    Endpoint,
    is_private,
    is_reachable,
    may_be_reached,
    parse_address,
    passed_on,
)
from wg_orchestrator.domain.ip_allocator import Network

Endpoints: TypeAlias = tuple[Endpoint, ...]


class AimRule:
    """Says which of its endpoints others may be told of a peer: see `passed_on`."""

    def __init__(self, network: Network, trusts_strangers: bool) -> None:
        self._network = network
        self._trusts_strangers = trusts_strangers

    def __call__(self, endpoints: Endpoints, source: str) -> Endpoints:
        """Of those that a peer announces. `source` is where it connects from: an address, if that is known."""
        return passed_on(endpoints, parse_address(source), self._network, self._trusts_strangers)

    def observed(self, endpoints: Endpoints, source: str) -> Endpoints:
        """Of those at which a peer was seen: it has shown that it is there, so they are no stranger's."""
        return tuple(
            endpoint
            for endpoint in endpoints
            if may_be_reached(endpoint, self._network) and not is_in_between(endpoint, source)
        )


def is_in_between(seen: Endpoint, source: str) -> bool:
    """Whether a peer that connects from `source` can't be where it was seen: a private address and a public one. Then
    something stands in front of the service, such as a NAT.
    """
    address = parse_address(source)
    is_public = address is not None and is_reachable(address) and not is_private(address)
    return is_public and is_private(seen.address)
