"""A connection before its request has come, on a transport in memory."""

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.unit.server.test_websocket_protocol import (
    HEADERS,
    Joined,
    MemoryTransport,
    client_frame,
    turns,
)
from wg_orchestrator.adapters.websocket.connection import EXTENSION
from wg_orchestrator.rfc6455.frames import Opcode, close_frame, frame
from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.request_protocol import RequestProtocol
from wg_orchestrator.server.websocket_protocol import WebSocketProtocol
from wg_orchestrator.settings import ConnectionLimits, GateLimits
from wg_orchestrator.telemetry.telemetry import Telemetry

HEAD = b"GET /tenants/acme HTTP/1.1\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in HEADERS) + b"\r\n"


class Socket:
    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def getpeername(self) -> tuple[str, int]:
        return "192.0.2.1", 4711

    def getsockname(self) -> tuple[str, int]:
        return "192.0.2.9", 8000


class Visitor:
    """One connection to the service, from the client's end."""

    def __init__(self, context: ServerContext, source: str = "192.0.2.1", file: int = 10) -> None:
        self.transport = MemoryTransport()
        self.transport.extra = {"socket": Socket(file), "peername": (source, 4711)}
        protocol = RequestProtocol(context)
        self.transport.protocol = protocol
        protocol.connection_made(self.transport)

    async def send(self, data: bytes) -> bytes:
        """Send `data`; return what the service answers."""
        assert isinstance(self.transport.protocol, asyncio.Protocol)
        self.transport.protocol.data_received(data)
        await turns()
        return self.transport.taken()

    def lost(self) -> None:
        assert self.transport.protocol is not None
        self.transport.protocol.connection_lost(None)


def a_context(application: Any = None, max_files: int = 1024, **limits: Any) -> ServerContext:
    config = uvicorn.Config(
        application or Joined(), ws="none", lifespan="off", log_config=None, proxy_headers=False, access_log=False
    )
    config.load()
    return ServerContext(config, ServerState(), ConnectionLimits(), GateLimits(**limits), max_files, Telemetry(100))


def refusals(context: ServerContext) -> dict[str, float]:
    (metric,) = [
        metric
        for metric in context.telemetry._telemetry.registry.collect()
        if metric.name == "wg_orchestrator_refusals"
    ]
    return {one.labels["reason"]: one.value for one in metric.samples if one.name.endswith("total")}


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_request_is_upgraded_however_it_is_cut(size: int) -> None:
    context = a_context(max_request_size=100_000)
    visitor = Visitor(context)
    for start in range(0, len(HEAD), size):
        answer = await visitor.send(HEAD[start : start + size])
    assert answer.startswith(b"HTTP/1.1 101")
    assert isinstance(visitor.transport.protocol, WebSocketProtocol)
    assert [id(one) for one in context.state.connections] == [id(visitor.transport.protocol)]
    assert len(context.requests) == 0
    visitor.lost()
    assert (context.gate.open, context.state.connections) == (0, set())


async def test_what_came_with_the_request_is_read_after_it() -> None:
    answer = await Visitor(a_context()).send(HEAD + client_frame(Opcode.TEXT, b"join"))
    assert answer.endswith(frame(Opcode.TEXT, b"welcome"))


async def test_what_came_with_a_request_that_is_refused_is_not_read() -> None:
    context = a_context(max_connections=1)
    first = Visitor(context)
    answer = await Visitor(context).send(HEAD + client_frame(Opcode.TEXT, b"join"))
    assert answer.endswith(close_frame(4005, "at capacity"))
    assert refusals(context) == {"at capacity": 1}
    first.lost()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD.replace(b"GET", b"POST"), 405),
        (HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), 405),
        (HEAD.replace(b"version: 13", b"version: 12"), 426),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 5000, 431),
    ],
)
async def test_a_bad_request_has_its_answer_and_the_connection_ends(request_: bytes, status: int) -> None:
    context = a_context(max_request_size=4096)
    visitor = Visitor(context)
    assert (await visitor.send(request_)).startswith(b"HTTP/1.1 %d " % status)
    assert visitor.transport.state == "closing"
    assert await visitor.send(b"more\r\n\r\n") == b""
    visitor.lost()
    assert (context.gate.open, context.state.connections, len(context.requests)) == (0, set(), 0)


@pytest.mark.parametrize("upgrade", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"Upgrade: websocket\r\n"])
async def test_a_plain_request_is_answered_and_the_connection_ends(upgrade: bytes) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    context = a_context(application)
    visitor = Visitor(context)
    answer = await visitor.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"ok")
    assert visitor.transport.state == "closing"
    visitor.lost()
    assert (context.gate.open, context.state.connections, len(context.requests)) == (0, set(), 0)


async def test_a_request_that_comes_byte_by_byte_is_cut_short() -> None:
    visitor = Visitor(a_context(max_request_size=64 * 20))
    answers = [await visitor.send(HEAD[number : number + 1]) for number in range(20)]
    assert b"".join(answers[:-1]) == b""
    assert answers[-1].startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("beginning", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_connection_that_is_no_websocket_in_time_is_cut(beginning: bytes) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    context = a_context(slow, request_timeout=0.01)
    visitor = Visitor(context)
    assert await visitor.send(beginning) == b""
    while visitor.transport.state != "aborted":
        await asyncio.sleep(0.001)
    visitor.lost()
    await turns()
    assert context.state.tasks == set()


async def test_of_too_many_that_make_no_request_the_oldest_is_cut() -> None:
    context = a_context(max_pending=2)
    visitors = [Visitor(context) for _ in range(3)]
    assert [visitor.transport.state for visitor in visitors] == ["aborted", "open", "open"]


async def test_of_too_many_that_do_not_ask_to_join_the_oldest_is_told_that_its_time_is_over() -> None:
    overdue: list[bool] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        connection = scope["extensions"][EXTENSION]["connection"]
        await connection.accept()
        with pytest.raises(TimeoutError):
            await connection.first_message()
        overdue.append(True)

    context = a_context(application, max_pending=2)
    for expected in (0, 0, 1, 2):
        await Visitor(context).send(HEAD)
        assert len(overdue) == expected
    for task in list(context.state.tasks):
        task.cancel()
    await turns()


async def test_while_there_is_a_crowd_those_that_make_no_request_make_room() -> None:
    """Otherwise they would keep all others out until the request timeout."""
    context = a_context(max_files=400)  # Room for 300 connections; crowded from the 263rd file on.
    visitors = [Visitor(context, file=number) for number in range(263)]
    assert {visitor.transport.state for visitor in visitors} == {"open"}
    newcomer = Visitor(context, file=263)
    few = context.gate.few
    assert [visitor.transport.state for visitor in visitors] == ["aborted"] * (264 - few) + ["open"] * (few - 1)
    assert (await newcomer.send(HEAD)).startswith(b"HTTP/1.1 101")


async def test_while_there_is_a_crowd_those_that_do_not_join_or_do_not_end_make_room() -> None:
    context = a_context(Joined(), max_files=400)
    silent = [Visitor(context, file=number) for number in range(40)]
    closed = [Visitor(context, file=number) for number in range(40, 80)]
    for visitor in silent:
        await visitor.send(HEAD)
    for visitor in closed:
        await visitor.send(HEAD + b"\x83\x80mask")  # Closed by 1002.
    assert (len(context.joins), len(context.closings)) == (40, 40)
    Visitor(context, file=263)
    assert (len(context.joins), len(context.closings)) == (context.gate.few, context.gate.few)
    for task in list(context.state.tasks):
        task.cancel()
    await turns()


async def test_a_connection_that_there_is_no_file_left_for_is_cut_at_once() -> None:
    context = a_context(max_files=100)
    visitor = Visitor(context, file=99)
    assert visitor.transport.state == "aborted"
    assert await visitor.send(HEAD) == b""
    visitor.lost()
    assert refusals(context) == {"no room for a connection": 1}
    assert context.gate.open == 0


async def test_a_source_has_its_connections_and_its_handshakes_counted() -> None:
    context = a_context(max_connections_per_source=1, max_handshake_rate_per_source=0.1)
    first = Visitor(context)
    assert (await first.send(HEAD)).startswith(b"HTTP/1.1 101")
    second, third = Visitor(context), Visitor(context)
    assert (await second.send(HEAD)).startswith(b"HTTP/1.1 429")
    assert third.transport.state == "aborted"
    for visitor in (first, second, third):
        visitor.lost()
    assert b"retry-after: 1\r\n" in await Visitor(context).send(HEAD)
    assert (await Visitor(context, "192.0.2.2").send(HEAD)).startswith(b"HTTP/1.1 101")


async def test_behind_a_trusted_proxy_its_clients_are_the_sources() -> None:
    context = a_context(max_connections_per_source=1, trusted_proxies=(ip_network("10.0.0.1/32"),))

    def behind(proxy: str, client: str) -> bytes:
        return HEAD[:-2] + f"X-Forwarded-For: {client}\r\n\r\n".encode()

    statuses = [
        (await Visitor(context, proxy).send(behind(proxy, client)))[9:12]
        for proxy, client in [
            ("10.0.0.1", "192.0.2.1"),
            ("10.0.0.1", "192.0.2.2"),
            ("10.0.0.1", "192.0.2.2"),
            ("10.0.0.9", "192.0.2.3"),
        ]
    ]
    assert statuses == [b"101", b"101", b"429", b"101"]
    # A proxy that is not trusted is itself the source, whatever its X-Forwarded-For says.
    assert (await Visitor(context, "10.0.0.9").send(behind("10.0.0.9", "192.0.2.4"))).startswith(b"HTTP/1.1 429")


async def test_a_proxy_that_forwards_for_nobody_is_no_source() -> None:
    context = a_context(max_connections_per_source=1, trusted_proxies=(ip_network("10.0.0.1/32"),))
    answers = [(await Visitor(context, "10.0.0.1").send(HEAD))[9:12] for _ in range(3)]
    assert answers == [b"101"] * 3


async def test_handshakes_beyond_the_rate_are_to_come_again() -> None:
    context = a_context(max_handshake_rate=0.1)
    answers = [await Visitor(context).send(HEAD) for _ in range(2)]
    assert answers[0].startswith(b"HTTP/1.1 101")
    assert answers[1].startswith(b"HTTP/1.1 503")
    assert refusals(context) == {"too many handshakes": 1}


async def test_a_stopping_server_answers_a_request_that_is_not_there_yet() -> None:
    visitor = Visitor(a_context())
    await visitor.send(b"GET / HTTP/1.1\r\n")
    visitor.transport.protocol.shutdown()  # type: ignore[union-attr]
    assert visitor.transport.taken().startswith(b"HTTP/1.1 503")
    assert visitor.transport.state == "closing"
