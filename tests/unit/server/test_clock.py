"""The clock and the deadlines on a loop whose time the test moves on."""

import asyncio
import time
from collections.abc import Callable

import pytest

from wg_orchestrator.server.clock import BEAT, STALL, Deadlines, LoopClock, real_time

PassTime = Callable[[float], None]


@pytest.fixture
async def pass_time(monkeypatch: pytest.MonkeyPatch) -> PassTime:
    now = 1000.0

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)  # Time passes, and the loop is not busy.
    monkeypatch.setattr("wg_orchestrator.server.clock.real_time", lambda: now)
    return pass_time


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_time_passes_while_the_loop_beats(pass_time: PassTime) -> None:
    clock = LoopClock()
    clock.beat()
    started = clock.time()
    for _ in range(10):
        pass_time(BEAT)
        assert clock.beat() == pytest.approx(0)
    assert clock.time() - started == pytest.approx(10 * BEAT)


async def test_a_beat_tells_how_late_it_is(pass_time: PassTime) -> None:
    clock = LoopClock()
    clock.beat()
    pass_time(BEAT + 0.25)
    assert clock.beat() == pytest.approx(0.25)


@pytest.mark.parametrize("ask_first", ["beat", "time"])
async def test_no_time_passes_while_the_loop_is_stalled(pass_time: PassTime, ask_first: str) -> None:
    clock = LoopClock()
    clock.beat()
    started = clock.time()
    pass_time(30)
    getattr(clock, ask_first)()
    assert clock.time() == pytest.approx(started)
    pass_time(BEAT)
    clock.beat()
    assert clock.time() - started == pytest.approx(BEAT)


async def test_a_stall_amid_a_turn_is_noticed_in_that_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop like uvloop reads the time once a turn. By that time, bytes that it reads after a stall in the same turn
    would have come before the stall.
    """
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)
    seconds = iter([10.0, 10.0, 40.0])
    monkeypatch.setattr("wg_orchestrator.server.clock.real_time", lambda: next(seconds))
    clock = LoopClock()
    clock.beat()
    clock.time()
    assert clock.stalled == 30


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="there is no clock that goes on in a suspended machine")
def test_a_suspended_machine_is_a_stalled_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 4711.0}.__getitem__)
    assert real_time() == 4711.0


async def test_a_busy_loop_is_not_a_stalled_one(pass_time: PassTime) -> None:
    clock = LoopClock()
    clock.beat()
    started = clock.time()
    pass_time(STALL)
    assert clock.time() - started == pytest.approx(STALL)


async def test_without_beats_all_time_counts(pass_time: PassTime) -> None:
    clock = LoopClock()
    clock.beat()
    clock.stop()
    started = clock.time()
    pass_time(30)
    assert clock.time() - started == pytest.approx(30)


async def test_items_are_due_in_their_order_and_once(pass_time: PassTime) -> None:
    due: list[str] = []
    deadlines = Deadlines[str](LoopClock(), 10, due.append)
    for item in ("first", "second", "third"):
        deadlines.add(item)
        pass_time(1)
    deadlines.discard("second")
    for seconds, expected in ((6, []), (1, ["first"]), (2, ["first", "third"]), (60, ["first", "third"])):
        pass_time(seconds)
        await turns()
        assert due == expected
    assert len(deadlines) == 0


async def test_an_item_may_be_added_again_when_it_is_due(pass_time: PassTime) -> None:
    due: list[str] = []

    def on_due(item: str) -> None:
        due.append(item)
        deadlines.add(item)

    deadlines = Deadlines[str](LoopClock(), 10, on_due)
    deadlines.add("item")
    for _ in range(3):
        pass_time(10)
        await turns()
    assert due == ["item"] * 3


async def test_who_was_stalled_with_the_loop_gets_the_time_back(pass_time: PassTime) -> None:
    due: list[str] = []
    clock = LoopClock()
    clock.beat()
    deadlines = Deadlines[str](clock, 10, due.append)
    deadlines.add("item")
    pass_time(30)
    await turns()
    assert due == []
    for _ in range(101):
        pass_time(BEAT)
        clock.beat()
        await turns()
    assert due == ["item"]


async def test_of_more_than_there_is_room_for_the_first_is_due(pass_time: PassTime) -> None:
    due: list[str] = []
    deadlines = Deadlines[str](LoopClock(), 10, due.append, max_items=2)
    for item in ("first", "second", "third"):
        deadlines.add(item)
    assert due == ["first"]
    assert len(deadlines) == 2
