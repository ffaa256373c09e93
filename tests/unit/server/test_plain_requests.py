"""Where a request ends, and what happens to the bytes after it, on a transport in memory."""

from typing import Any

import pytest

from tests.unit.server.test_request_protocol import HEAD, Visitor, a_context, refusals
from tests.unit.server.test_websocket_protocol import client_frame, turns
from wg_orchestrator.rfc6455.frames import Opcode

PLAIN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
PIECE = 512
LIMIT = 8192


class Recorder:
    """An application that answers every request, and records it."""

    def __init__(self, *, reads: bool = False) -> None:
        self.asked: list[tuple[str, str, str, list[tuple[bytes, bytes]]]] = []
        self.bodies: list[tuple[bytes, bool]] = []
        self._reads = reads

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append((scope["type"], scope.get("method", "GET"), scope["path"], list(scope["headers"])))
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        if self._reads:
            event = await receive()
            self.bodies.append((event["body"], event["more_body"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Mute:
    """An application that never answers."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


async def send_all(visitor: Visitor, data: bytes, piece: int = PIECE) -> bytes:
    """Send `data` in pieces until the connection ends; return all answers."""
    answer = b""
    for start in range(0, len(data), piece):
        answer += await visitor.send(data[start : start + piece])
        if visitor.transport.is_closing():
            break
    return answer


def answers(written: bytes) -> list[bytes]:
    return [part[:3] for part in written.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\n\n", b"\r\n" * 1000])
@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\nX: ", b"GET /", b"GET / HTTP/1.1\r\nX: y\r\n" * 2])
@pytest.mark.parametrize("piece", [64, PIECE, 4 * LIMIT])
async def test_a_head_has_its_bound_whatever_comes_before_it_and_in_which_pieces(
    before: bytes, line: bytes, piece: int
) -> None:
    context = a_context(Mute(), max_request_size=LIMIT)
    visitor = Visitor(context)
    answer = await send_all(visitor, before + line + b"x" * 2 * LIMIT, piece)
    assert answers(answer) in ([b"431"], [b"400"])
    assert visitor.transport.state == "closing"
    visitor.lost()
    assert (context.gate.open, context.state.connections, len(context.requests)) == (0, set(), 0)


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b"\r"])
async def test_empty_lines_before_a_request_count_for_its_size(blank: bytes) -> None:
    for data in (blank * LIMIT, blank * LIMIT + PLAIN):
        assert answers(await send_all(Visitor(a_context(max_request_size=LIMIT)), data, LIMIT * 4)) == [b"431"]


@pytest.mark.parametrize("piece", [1, 3, 1000])
async def test_a_few_empty_lines_before_a_request_are_not_minded(piece: int) -> None:
    """RFC 9112, section 2.2."""
    for request, status in ((PLAIN, b"200"), (HEAD, b"101")):
        application = Recorder()
        visitor = Visitor(a_context(application, max_request_size=100_000))
        assert answers(await send_all(visitor, b"\r\n\r\n" + request, piece)) == [status]
        assert len(application.asked) == 1


@pytest.mark.parametrize(
    "body", [b"Content-Length: 9999999999", b"Content-Length: 1", b"Transfer-Encoding: chunked", b"Content-Length: 00"]
)
async def test_a_request_that_announces_a_body_is_refused_before_that_comes(body: bytes) -> None:
    application = Recorder(reads=True)
    context = a_context(application)
    visitor = Visitor(context)
    answer = await visitor.send(b"POST /healthz HTTP/1.1\r\nHost: x\r\n" + body + b"\r\n\r\n")
    assert answers(answer) == [b"400"]
    assert visitor.transport.state == "closing"
    assert application.asked == []
    assert refusals(context) == {"a request has no body": 1}


@pytest.mark.parametrize("after", [PLAIN, HEAD, b"x" * 100, b"GET /y HTTP/1.1\r\nX: " + b"x" * 100_000, b"\0"])
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_comes_after_a_plain_request_is_not_read(after: bytes, at_once: bool) -> None:
    application = Recorder(reads=True)
    visitor = Visitor(a_context(application))
    answer = await visitor.send(PLAIN + after) if at_once else await visitor.send(PLAIN) + await visitor.send(after)
    assert answers(answer) == [b"200"]
    assert [path for _, _, path, _ in application.asked] == ["/healthz"]
    assert application.bodies == [(b"", False)]
    assert visitor.transport.state == "closing"


async def test_what_comes_while_a_response_is_awaited_is_not_kept() -> None:
    context = a_context(Mute())
    visitor = Visitor(context)
    await visitor.send(PLAIN)
    for _ in range(100):
        assert await visitor.send(b"x" * 1000) == b""
    exchange: Any = visitor.transport.protocol
    assert len(exchange.cycle.body) == 0
    assert not exchange.pipeline
    visitor.lost()
    await turns()
    assert context.state.tasks == set()


@pytest.mark.parametrize(
    "first",
    [
        b"GET /tenants/acme?a= HTTP/1.1\r\n\r\n",
        b"GET /tenants/acme HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n",
        b"GET /tenants/acme\r\n\r\n",
        b"POST /tenants/acme HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_request_is_none_of_the_one_before_it(first: bytes) -> None:
    application = Recorder()
    visitor = Visitor(a_context(application))
    answer = await visitor.send(first + HEAD + client_frame(Opcode.TEXT, b"join"))
    assert answers(answer) in ([b"200"], [b"400"])
    assert [kind for kind, *_ in application.asked] in (["http"], [])
    assert all(headers == [] or (b"upgrade", b"websocket") not in headers for *_, headers in application.asked)


async def test_a_handshake_ends_where_its_head_does() -> None:
    application = Recorder()
    visitor = Visitor(a_context(application))
    assert (await visitor.send(HEAD + HEAD)).startswith(b"HTTP/1.1 101")
    assert [(kind, path, len(headers)) for kind, _, path, headers in application.asked] == [
        ("websocket", "/tenants/acme", HEAD.count(b": "))
    ]


@pytest.mark.parametrize(
    "head", [b"PRI * HTTP/2.0\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n", b"GET /x\r\nGET /y HTTP/1.1\r\n\r\n"]
)
async def test_a_head_that_is_none_is_refused_at_its_end(head: bytes) -> None:
    visitor = Visitor(a_context(Mute()))
    assert answers(await visitor.send(head)) == [b"400"]


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/1.0", b"HTTP/9.9", b"HTTP/1", b"XTTP/1.1", b"HTTP/1.1 "])
async def test_a_request_line_is_judged_alike_in_whatever_pieces(version: bytes) -> None:
    request = HEAD.replace(b"HTTP/1.1", version)
    whole = await send_all(Visitor(a_context(max_request_size=100_000)), request, len(request))
    cut = await send_all(Visitor(a_context(max_request_size=100_000)), request, 1)
    assert answers(whole) == answers(cut)
    assert answers(whole) in ([b"400"], [b"405"])


@pytest.mark.parametrize("target", [b"http://", b"http://x", b"?", b"x:1", b"/\x7f"])
async def test_a_plain_request_for_what_is_no_target_is_counted_as_refused(target: bytes) -> None:
    context = a_context(Mute())
    assert answers(await Visitor(context).send(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")) == [b"400"]
    assert refusals(context) == {"malformed request": 1}


async def test_a_plain_request_has_no_time_of_its_own_beside_its_connections() -> None:
    context = a_context(Mute(), max_pending=2)
    first, second = Visitor(context), Visitor(context)
    assert await first.send(PLAIN) == b""
    third = Visitor(context)
    assert [one.transport.state for one in (first, second, third)] == ["aborted", "open", "open"]
    for visitor in (first, second, third):
        visitor.lost()
    await turns()
    assert (context.gate.open, context.state.connections, len(context.requests)) == (0, set(), 0)
    assert context.state.tasks == set()
