"""The protocol class on a transport in memory, fed by a hostile client."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed
from tests.unit.server.streams import STREAMS, pieces
from tests.unit.server.test_websocket_protocol import Joined, MemoryTransport, turns, upgraded
from wg_orchestrator.adapters.websocket.connection import Gone
from wg_orchestrator.rfc6455.frames import Opcode, frame
from wg_orchestrator.rfc6455.message import Notices, Text

_LIMITS = {"max_message_size": 300, "max_frame_rate": 1.0, "ping_interval": 60.0, "close_timeout": 60.0}
_WELCOME = (Opcode.TEXT, b"welcome")
_NOTICE = Notices([Text(b"notice")])


def frames_of(written: bytes) -> list[tuple[int, bytes]]:
    """The frames that a server wrote after its 101 response. Fails unless all are whole, final and unmasked."""
    frames = []
    at = written.index(b"\r\n\r\n") + 4
    while at < len(written):
        first, size = written[at : at + 2]
        header, size = (2, size) if size < 126 else (4, int.from_bytes(written[at + 2 : at + 4], "big"))
        assert first & 0xF0 == 0x80
        payload = written[at + header : at + header + size]
        assert len(payload) == size
        frames.append((first & 0x0F, payload))
        at += header + size
    return frames


class JoinedIfAny(Joined):
    """An application that takes the connection over once it has the first message, as the peers' endpoint does."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except Gone:
            self.ended = True


async def feed(arriving: list[bytes], turns_between: int) -> tuple[Any, MemoryTransport, Any, JoinedIfAny]:
    application = JoinedIfAny()
    protocol, transport, state = await upgraded(application, **_LIMITS)
    for piece in arriving:
        protocol.data_received(piece)
        await turns(turns_between)
    await turns()
    return protocol, transport, state, application


@fuzzed(250)
@given(STREAMS, st.data(), st.integers(0, 3))
async def test_any_bytes_leave_a_connection_open_or_closed_and_nothing_between(
    stream: bytes, data: st.DataObject, turns_between: int
) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    protocol, transport, state, application = await feed(data.draw(pieces(stream)), turns_between)
    sent = frames_of(transport.written)
    is_open = transport.state == "open" and not any(opcode == Opcode.CLOSE for opcode, _ in sent)
    was_welcomed = _WELCOME in sent
    assert application.gone == (was_welcomed and not is_open)
    assert not (application.ended and (is_open or was_welcomed))

    protocol.send(_NOTICE)
    told = transport.written.endswith(_NOTICE.wire)
    assert told == is_open

    protocol.connection_lost(None)
    await turns()
    assert application.gone == was_welcomed
    assert application.ended != was_welcomed
    assert (state.tasks, state.connections) == (set(), set())
    assert faults == []


@fuzzed(250)
@given(STREAMS, st.data(), st.integers(0, 3))
async def test_any_bytes_are_answered_by_a_welcome_pongs_and_one_close_at_the_end(
    stream: bytes, data: st.DataObject, turns_between: int
) -> None:
    protocol, transport, _, _ = await feed(data.draw(pieces(stream)), turns_between)
    sent = frames_of(transport.written)
    opcodes = [opcode for opcode, _ in sent]
    assert set(opcodes) <= {Opcode.TEXT, Opcode.PONG, Opcode.CLOSE}
    assert [entry for entry in sent if entry[0] == Opcode.TEXT] in ([], [_WELCOME])
    assert Opcode.CLOSE not in opcodes[:-1]
    assert len(transport.written) <= len(stream) + 600
    protocol.connection_lost(None)
    await turns()


@fuzzed(100)
@given(STREAMS, st.lists(st.sampled_from(["eof", "pause", "shutdown", "notice", "abort"]), max_size=5), st.data())
async def test_an_end_amid_any_bytes_is_told_once(stream: bytes, events: list[str], data: st.DataObject) -> None:
    application = JoinedIfAny()
    protocol, transport, state = await upgraded(application, **_LIMITS)
    arriving: list[bytes | str] = [*data.draw(pieces(stream))]
    for event in events:
        arriving.insert(data.draw(st.integers(0, len(arriving))), event)
    for piece in arriving:
        if isinstance(piece, bytes):
            protocol.data_received(piece)
        elif piece == "eof":
            protocol.eof_received()
        elif piece == "pause":
            protocol.pause_writing()
            protocol.resume_writing()
        elif piece == "shutdown":
            protocol.shutdown()
        elif piece == "abort":
            protocol.pong_overdue()
        else:
            protocol.send(_NOTICE)
        await turns(1)
    was_welcomed = frame(*_WELCOME) in transport.written
    protocol.connection_lost(None)
    await turns()
    assert application.gone == was_welcomed
    assert application.ended != was_welcomed
    assert (state.tasks, state.connections) == (set(), set())
