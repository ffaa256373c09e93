"""Time in which the event loop is busy counts. But what came in that time is read before any peer is given up."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
import uvloop

from wg_orchestrator.server.clock import Deadlines, LoopClock

STALL = 0.01


def busy(seconds: float) -> None:
    """Use this many seconds of CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def test_no_client_can_stop_the_clock_by_keeping_the_loop_busy() -> None:
    clock = LoopClock(STALL)
    for observe in (clock.beat, clock.time):
        clock.beat()
        started, cpu = clock.time(), time.thread_time()
        busy(0.03)
        observe()
        assert clock.time() - started >= 0.9 * (time.thread_time() - cpu)


async def test_a_loop_that_is_always_busy_meets_its_deadlines() -> None:
    due: list[str] = []
    clock = LoopClock(STALL)
    deadlines = Deadlines[str](clock, 0.05, due.append)
    clock.beat()
    deadlines.add("silent")
    for _ in range(20):
        busy(0.02)
        clock.beat()
        await asyncio.sleep(0)
    assert due == ["silent"]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("peers", [1, 50])
def test_what_came_while_the_loop_was_busy_is_read_before_anybody_is_due(
    new_loop: Callable[[], asyncio.AbstractEventLoop], peers: int
) -> None:
    async def scenario() -> list[int]:
        loop, clock = asyncio.get_running_loop(), LoopClock(STALL)
        due: list[int] = []
        deadlines = Deadlines[int](clock, 0.02, due.append)
        pairs = [socket.socketpair() for _ in range(peers)]
        for number, (ours, theirs) in enumerate(pairs):
            ours.setblocking(False)
            deadlines.add(number)
            loop.add_reader(ours, deadlines.discard, number)
            theirs.send(b"pong")
        deadlines.add(peers)  # One more, that has sent nothing.
        clock.beat()
        busy(0.05)
        for _ in range(1000):
            clock.beat()
            await asyncio.sleep(0.001)
            if due:
                break
        for ours, theirs in pairs:
            loop.remove_reader(ours)
            ours.close()
            theirs.close()
        return due

    loop = new_loop()
    try:
        assert loop.run_until_complete(scenario()) == [peers]
    finally:
        loop.close()
