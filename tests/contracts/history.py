"""What every History promises."""

from abc import ABC, abstractmethod

import pytest

from tests.builders import ACME, GLOBEX, a_key, a_peer, a_stay
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.history import History, Holding, Record

NOW = 1_800_000_000.25
FIRST, SECOND = a_stay(a_peer(1)), a_stay(a_peer(2, "100.64.0.1"), number=2)
"""Two stays at one address."""
ADDRESS = FIRST.peer.virtual_ip


class HistoryContract(ABC):
    """Subclass it as `Test…` and supply the fixtures: `history`, and `other`, the same on another node, or again the
    same one.
    """

    @pytest.fixture
    @abstractmethod
    def history(self) -> History: ...

    @pytest.fixture
    @abstractmethod
    def other(self) -> History: ...

    async def test_it_knows_who_held_an_address_and_when(self, history: History, other: History) -> None:
        elsewhere = a_stay(a_peer(3, "100.64.0.1"), GLOBEX, number=3)
        await history.put([Record(FIRST, NOW), Record(elsewhere, NOW), Record(FIRST, NOW + 60, LeaveCause.GRACE)])
        await history.put([Record(SECOND, NOW + 61)])
        first, second = await other.holdings(ACME, ADDRESS)
        assert first == Holding(FIRST.id, a_key(1).text, "peer-1", NOW, NOW + 60, "grace")
        assert second == Holding(SECOND.id, a_key(2).text, "peer-2", NOW + 61, None, None)
        assert [one.stay for one in await other.holdings(GLOBEX, ADDRESS)] == [elsewhere.id]
        assert await other.holdings(ACME, a_peer(9).virtual_ip) == []

    async def test_what_comes_in_one_batch_is_put_in_its_order(self, history: History) -> None:
        begins = [Record(FIRST, NOW), Record(FIRST, NOW + 1, LeaveCause.LEFT)]
        await history.put([*begins, Record(SECOND, NOW + 1), Record(SECOND, NOW + 2, LeaveCause.PUT_OUT)])
        found = await history.holdings(ACME, ADDRESS)
        assert [(one.stay, one.until, one.cause) for one in found] == [
            (FIRST.id, NOW + 1, "left"),
            (SECOND.id, NOW + 2, "put out"),
        ]

    async def test_a_record_that_is_put_again_changes_nothing(self, history: History, other: History) -> None:
        records = [Record(FIRST, NOW), Record(FIRST, NOW + 1, LeaveCause.REVOKED)]
        await history.put(records)
        before = await history.holdings(ACME, ADDRESS)
        await history.put(records)
        await other.put([Record(FIRST, NOW + 3, LeaveCause.REVOKED)])
        assert await history.holdings(ACME, ADDRESS) == before

    async def test_a_clock_that_was_put_back_ends_nothing_before_it_began(self, history: History) -> None:
        await history.put([Record(FIRST, NOW), Record(FIRST, NOW - 5, LeaveCause.LEFT)])
        (held,) = await history.holdings(ACME, ADDRESS)
        assert (held.since, held.until) == (NOW, NOW)
