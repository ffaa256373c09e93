"""A connection that is not a WebSocket yet, on a transport in memory, fed by a hostile client."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed
from tests.unit.server.request_streams import PADDINGS, REQUEST_STREAMS, first_head, path_of, whole_head
from tests.unit.server.streams import pieces
from tests.unit.server.test_request_protocol import Visitor, a_context
from tests.unit.server.test_websocket_protocol import turns
from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.websocket_protocol import WebSocketProtocol

LIMIT = 2048


class Answering:
    """An application that answers every request at once, and records it."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, list[tuple[bytes, bytes]]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        self.asked.append((path_of(scope["raw_path"] + query), list(scope["headers"])))
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await receive()
            await receive()
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


async def feed(visitor: Visitor, arriving: list[bytes]) -> bytes:
    """All that the service answers until the connection ends or becomes a WebSocket."""
    answer = b""
    for piece in arriving:
        if visitor.transport.is_closing() or isinstance(visitor.transport.protocol, WebSocketProtocol):
            break
        answer += await visitor.send(piece)
    return answer


async def leave(visitor: Visitor, context: ServerContext) -> None:
    visitor.lost()
    await turns()
    assert (context.gate.open, context.state.connections, len(context.requests)) == (0, set(), 0)
    assert context.state.tasks == set()


async def answer_to(arriving: list[bytes]) -> bytes:
    """The head of the only answer; empty if there was none."""
    context = a_context(Answering(), max_request_size=100_000)
    visitor = Visitor(context)
    answer = await feed(visitor, arriving)
    await leave(visitor, context)
    assert answer.count(b"HTTP/1.1 ") <= 1
    return answer.partition(b"\r\n\r\n")[0]


@fuzzed(300)
@given(REQUEST_STREAMS, PADDINGS, st.integers(1, LIMIT), st.data())
async def test_no_connection_holds_more_than_a_request_may_have_whatever_it_sends(
    stream: bytes, padding: bytes, size: int, data: st.DataObject
) -> None:
    context = a_context(Answering(), max_request_size=LIMIT)
    visitor = Visitor(context)
    await feed(visitor, data.draw(pieces(stream)))
    endless = padding * (2 * LIMIT // len(padding))
    await feed(visitor, [endless[start : start + size] for start in range(0, len(endless), size)])
    assert visitor.transport.is_closing() or isinstance(visitor.transport.protocol, WebSocketProtocol)
    await leave(visitor, context)


@fuzzed(300)
@given(REQUEST_STREAMS, st.data())
async def test_the_application_is_asked_the_first_request_and_nothing_else(stream: bytes, data: st.DataObject) -> None:
    application = Answering()
    context = a_context(application, max_request_size=100_000)
    visitor = Visitor(context)
    await feed(visitor, data.draw(pieces(stream)))
    if application.asked:
        assert application.asked == [first_head(stream)]
    await leave(visitor, context)


@fuzzed(300)
@given(REQUEST_STREAMS)
async def test_what_comes_behind_a_request_changes_nothing_of_its_answer(stream: bytes) -> None:
    if (head := whole_head(stream)) is not None:
        assert await answer_to([stream]) == await answer_to([head])


@fuzzed(300)
@given(REQUEST_STREAMS, st.data())
async def test_a_request_has_one_answer_however_it_is_cut(stream: bytes, data: st.DataObject) -> None:
    assert await answer_to([stream]) == await answer_to(data.draw(pieces(stream)))
