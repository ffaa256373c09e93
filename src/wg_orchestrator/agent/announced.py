from collections.abc import Iterable, Sequence

from wg_orchestrator.agent.paths import Here
from wg_orchestrator.domain.endpoint import Endpoint, is_private, is_reachable
from wg_orchestrator.wire.v2.requests import MAX_ENDPOINTS


def announced(here: Here, listen_port: int, named: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """What a machine says of where its WireGuard can be reached, best first: the endpoints that its owner has named,
    then its own public addresses, then the private ones. At most as many as the protocol allows.
    """
    own = [Endpoint(address.ip, listen_port) for address in here.addresses if is_reachable(address.ip)]
    own.sort(key=lambda endpoint: (is_private(endpoint.address), endpoint.address.version))
    return tuple(_once([*named, *own]))[:MAX_ENDPOINTS]


def _once(endpoints: Iterable[Endpoint]) -> Iterable[Endpoint]:
    return dict.fromkeys(endpoints)
