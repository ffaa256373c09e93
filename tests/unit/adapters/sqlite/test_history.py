from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.builders import ACME, a_peer, a_stay
from tests.contracts.history import ADDRESS, FIRST, NOW, SECOND, HistoryContract
from wg_orchestrator.adapters.sqlite.admission_records import SqliteAdmissionRecords
from wg_orchestrator.adapters.sqlite.history import SqliteHistory
from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.domain.events import LeaveCause
from wg_orchestrator.domain.history import History, Record

DAY = 86_400


@asynccontextmanager
async def history_in(
    folder: Path, *, days: int = 30, most: int = 100, clock: Callable[[], float] = lambda: NOW
) -> AsyncIterator[SqliteHistory]:
    records = SqliteAdmissionRecords(folder / "state")
    async with records.running():
        history = SqliteHistory(folder / "state", records.database, days, most, clock)
        async with history.running():
            yield history


class TestSqliteHistory(HistoryContract):
    @pytest.fixture
    async def history(self, tmp_path: Path) -> AsyncIterator[SqliteHistory]:
        async with history_in(tmp_path) as history:
            yield history

    @pytest.fixture
    def other(self, history: History) -> History:
        return history


async def test_a_service_that_begins_ends_what_was_open_when_the_last_one_was_known_to_live(tmp_path: Path) -> None:
    now = [NOW]
    async with history_in(tmp_path, clock=lambda: now[0]) as history:
        await history.put([Record(FIRST, NOW)])
        now[0] += 7
        await history.put([Record(a_stay(a_peer(8)), NOW + 7)])
    now[0] += 1000
    async with history_in(tmp_path, clock=lambda: now[0]) as history:
        (held,) = await history.holdings(ACME, ADDRESS)
        assert (held.until, held.cause) == (NOW + 7, "lost")
        await history.put([Record(SECOND, NOW + 1007)])
        assert [one.until for one in await history.holdings(ACME, ADDRESS)] == [NOW + 7, None]


async def test_what_is_old_is_forgotten_and_who_is_in_is_not(tmp_path: Path) -> None:
    now = [NOW]
    async with history_in(tmp_path, days=30, clock=lambda: now[0]) as history:
        await history.put([Record(FIRST, NOW), Record(FIRST, NOW + 1, LeaveCause.LEFT), Record(SECOND, NOW + 2)])
        now[0] = NOW + 30 * DAY
        await history.tidy()
        assert len(await history.holdings(ACME, ADDRESS)) == 2
        now[0] += 2
        await history.tidy()
        assert [one.stay for one in await history.holdings(ACME, ADDRESS)] == [SECOND.id]


async def test_there_are_at_most_so_many_and_the_ones_that_ended_first_go(tmp_path: Path) -> None:
    async with history_in(tmp_path, most=10) as history:
        for number in range(1, 31):
            stay = a_stay(a_peer(1), number=number)
            await history.put([Record(stay, NOW + number), Record(stay, NOW + number + 1, LeaveCause.LEFT)])
        await history.tidy()
        found = await history.holdings(ACME, ADDRESS)
        assert [one.since for one in found] == [NOW + number for number in range(21, 31)]


async def test_a_file_that_is_closed_refuses(tmp_path: Path) -> None:
    async with history_in(tmp_path) as history:
        pass
    with pytest.raises(Unavailable):
        await history.put([Record(FIRST, NOW)])
