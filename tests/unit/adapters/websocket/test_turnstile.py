import asyncio

import pytest

from tests.builders import ACME, GLOBEX
from wg_orchestrator.adapters.websocket.turnstile import Turnstile
from wg_orchestrator.domain.tenant_id import TenantId


class Crowd:
    """Those who come in through a turnstile: in which order, and how many in each turn."""

    def __init__(self, per_turn: int) -> None:
        self.turnstile = Turnstile(per_turn)
        self.inside: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []

    def come(self, number: int, size: int, tenant_id: TenantId = ACME) -> None:
        async def enter() -> None:
            await self.turnstile.enter(tenant_id, size)
            self.inside.append(number)

        self.tasks.append(asyncio.create_task(enter()))

    async def by_turns(self) -> list[int]:
        """How many have come in after each turn, until all are in."""
        counts = list[int]()
        while not all(task.done() for task in self.tasks):
            await asyncio.sleep(0)
            counts.append(len(self.inside))
        return counts


async def test_a_few_come_in_without_a_wait() -> None:
    crowd = Crowd(per_turn=10)
    for number in range(5):
        crowd.come(number, 2)
    assert (await crowd.by_turns())[0] == 5


async def test_no_more_come_in_in_one_turn_than_may_and_all_come_in_in_order() -> None:
    crowd = Crowd(per_turn=10)
    for number in range(20):
        crowd.come(number, 4)
    counts = await crowd.by_turns()
    assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) <= 2
    assert crowd.inside == list(range(20))


@pytest.mark.parametrize("size", [10, 11, 1000])
async def test_one_comes_in_in_a_turn_however_large_its_tenant_is(size: int) -> None:
    crowd = Crowd(per_turn=10)
    for number in range(5):
        crowd.come(number, size)
    counts = await crowd.by_turns()
    assert {after - before for before, after in zip([0, *counts], counts, strict=False)} <= {0, 1}
    assert crowd.inside == list(range(5))


async def test_who_would_fit_does_not_overtake_those_who_wait() -> None:
    crowd = Crowd(per_turn=10)
    for number, size in enumerate((6, 6, 4, 10, 1)):
        crowd.come(number, size)
    await crowd.by_turns()
    assert crowd.inside == [0, 1, 2, 3, 4]


async def test_who_comes_to_another_tenant_waits_for_nobody() -> None:
    crowd = Crowd(per_turn=10)
    for number in range(5):
        crowd.come(number, 10)
    crowd.come(9, 1, GLOBEX)
    await asyncio.sleep(0)
    assert 9 in crowd.inside
    await crowd.by_turns()


async def test_who_has_gone_while_it_waited_holds_up_nobody() -> None:
    crowd = Crowd(per_turn=10)
    for number in range(5):
        crowd.come(number, 10)
    await asyncio.sleep(0)
    crowd.tasks.pop(2).cancel()
    await crowd.by_turns()
    assert crowd.inside == [0, 1, 3, 4]


async def test_a_turnstile_that_nobody_uses_keeps_nothing() -> None:
    crowd = Crowd(per_turn=10)
    for number in range(5):
        crowd.come(number, 10)
    await crowd.by_turns()
    for _ in range(3):
        await asyncio.sleep(0)
    assert crowd.turnstile._gates == {}
