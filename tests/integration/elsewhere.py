"""Peers of another node. Their events come by the feed, and many of them may come at once."""

from tests.builders import ACME, a_key, at_once
from tests.integration.service import Service
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.newcomer import Newcomer
from wg_orchestrator.domain.peer import DisplayName
from wg_orchestrator.domain.stay import Stay

_NAME = DisplayName("🦊" * 128)
_FIRST = 10_000


def join(service: Service, count: int, first: int = _FIRST) -> list[Stay]:
    """Commit `count` large joins without a turn of the event loop in between, as after a gap in the feed."""
    tenants, stays = service.container.tenants(), []
    for number in range(first, first + count):
        event = tenants.get(ACME).admit(tenants.next_stay_id(), Newcomer(_NAME, a_key(number)))
        at_once(tenants.commit(event))
        stays.append(event.stay)
    return stays


def leave(service: Service, stays: list[Stay], cause: LeaveCause = LeaveCause.LEFT) -> None:
    tenants = service.container.tenants()
    for stay in stays:
        at_once(tenants.commit(tenants.get(ACME).release(stay, cause)))


def come_and_go(service: Service, times: int) -> None:
    """Commit `times` large joins, and after each one its leave."""
    for _ in range(times):
        leave(service, join(service, 1))
