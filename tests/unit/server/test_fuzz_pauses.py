"""A peer that keeps to its frame rate, and a service that is paused again and again: stopped, suspended, kept busy."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed
from tests.unit.server.test_websocket_protocol import client_frame, joined
from wg_orchestrator.adapters.websocket.rates import RATE_WINDOW
from wg_orchestrator.rfc6455.frames import Opcode, close_frame
from wg_orchestrator.server.clock import BEAT, STALL

_PING = client_frame(Opcode.PING, b"")
_RATE = 10.0
_BURST = round(_RATE * RATE_WINDOW)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0


@contextmanager
def no_time_but_this() -> Iterator[Time]:
    time = Time()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "time", lambda: time.now)
        patched.setattr("wg_orchestrator.server.clock.real_time", lambda: time.now)
        yield time


_SECONDS = st.integers(1, 1200).map(lambda beats: beats * BEAT)
_PAUSED_OR_NOT = st.lists(st.tuples(st.booleans(), _SECONDS), min_size=1, max_size=6)


@fuzzed(100)
@given(_PAUSED_OR_NOT, st.booleans(), st.integers(0, _BURST - 2), st.integers(1, 50))
async def test_a_peer_that_keeps_to_its_frame_rate_outlasts_any_pauses(
    spells: list[tuple[bool, float]], beats_first: bool, at_once: int, frames_a_piece: int
) -> None:
    """The peer sends `at_once` frames in one go, as it may, and then never more than its rate allows. What it sends in
    a pause waits in the kernel, and arrives all at once when the service goes on.
    """
    with no_time_but_this() as time:
        protocol, transport, application = await joined(max_frame_rate=_RATE)
        clock = protocol._context.clock
        clock.beat()
        protocol.data_received(_PING * at_once)
        owed = 0.0

        def send() -> None:
            nonlocal owed
            frames, owed = int(owed), owed % 1
            while frames > 0:
                protocol.data_received(_PING * min(frames, frames_a_piece))
                frames -= frames_a_piece

        for paused, seconds in spells:
            if paused:
                seconds = max(seconds, STALL + BEAT)
                time.now += seconds
                owed += seconds * _RATE * 0.99
                if beats_first:
                    clock.beat()
                send()
            for _ in range(1 if paused else round(seconds / BEAT)):
                time.now += BEAT
                clock.beat()
                owed += BEAT * _RATE * 0.99
                send()
        assert application.gone == 0
        assert transport.state == "open"


@fuzzed(50)
@given(_PAUSED_OR_NOT)
async def test_no_pause_lets_a_peer_send_more_than_its_rate_and_one_burst(spells: list[tuple[bool, float]]) -> None:
    with no_time_but_this() as time:
        protocol, transport, application = await joined(max_frame_rate=_RATE)
        clock = protocol._context.clock
        clock.beat()
        began = time.now
        for paused, seconds in spells:
            for _ in range(1 if paused else round(seconds / BEAT)):
                time.now += seconds if paused else BEAT
                clock.beat()
        allowed = _BURST + (time.now - began) * _RATE
        protocol.data_received(_PING * (int(allowed) + 1))
        assert application.gone == 1
        assert transport.written.endswith(close_frame(1008, "policy"))
