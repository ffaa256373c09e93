import asyncio
import re
import ssl
from collections.abc import Iterable
from typing import cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from wg_orchestrator.rfc6455.handshake import BadHandshake, Handshake, Headers, Request, refusal
from wg_orchestrator.server.context import ServerContext
from wg_orchestrator.server.gate import CUT, Denial
from wg_orchestrator.server.websocket_protocol import WebSocketProtocol
from wg_orchestrator.wire.close_codes import AT_CAPACITY

_END_OF_HEAD = b"\r\n\r\n"
_BLANK = b"\r\n"
"""Bytes of empty lines. Those before a request are ignored (RFC 9112, section 2.2), but count for its size."""
_REQUEST_LINE = re.compile(rb"[A-Z]+ [!-~]+( HTTP/[0-9]\.[0-9])?\r\n")
_BEGINNING_OF_ONE = re.compile(rb"$|[A-Z]{1,16}( |$)")
_LEAST_READ = 64
"""Bytes that each read counts for at least: many small reads cost more than a few large ones."""

_OVERDUE = "request timeout"
_NO_TLS = "no TLS handshake"
_TOO_LARGE = Denial(431, "request too large")
_MALFORMED = Denial(400, "malformed request")
_BODY = Denial(400, "a request has no body")
_STOPPING = Denial(503, "service restart")


class RequestProtocol(asyncio.Protocol):
    """A connection until its request has come. Then it becomes a WebSocket, or uvicorn answers a plain HTTP request.

    It holds only the request's bytes, as there may be many connections whose request never ends. A connection that has
    not become a WebSocket within the request timeout is cut. A request ends with its head: one with a body is refused.
    What comes after the head is read only by a WebSocket.
    """

    __slots__ = ("_context", "_denial", "_file", "_head", "_room", "_source", "_transport")

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._head: bytes | None = b""
        self._room = context.max_request_size
        self._source = ""
        self._denial: Denial | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        context = self._context
        context.requests.add(self)
        context.state.connections.add(self)  # type: ignore[arg-type]
        self._file = transport.get_extra_info("socket").fileno()
        host = self._peer()
        has_room = context.gate.enter(self._file)
        context.make_room(self._file)
        if not context.gate.trusts(host):
            has_room &= self._attribute(host)
        if not has_room:
            self._head = None
            context.telemetry.refused(CUT.reason, host)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        context = self._context
        context.requests.discard(self)
        context.state.connections.discard(self)
        context.gate.leave()
        if isinstance(exc, ssl.SSLError):
            context.telemetry.refused(_NO_TLS, self._source)
        if self._source:
            context.gate.discount(self._source)

    def request_overdue(self) -> None:
        if self._head is not None:
            self._context.telemetry.refused(_OVERDUE, self._source)
        self._transport.abort()

    def shutdown(self) -> None:
        if self._head is not None:
            self.deny(_STOPPING)

    def data_received(self, data: bytes) -> None:
        """`data` may be empty: over TLS, records without data count as reads, too, e.g. those of the TLS handshake."""
        if self._head is None:  # The request has its answer: ignore what still comes.
            return
        self._room -= max(len(data), _LEAST_READ)
        self._head = head = self._head + data
        start = len(head) - len(head.lstrip(_BLANK))
        end = head.find(_END_OF_HEAD, start)
        if end > self._context.max_request_size:
            self.deny(_TOO_LARGE)
        elif head and not (_BEGINNING_OF_ONE if head.find(b"\n", start) < 0 else _REQUEST_LINE).match(head, start):
            self.deny(_MALFORMED)
        elif end >= 0:
            end += len(_END_OF_HEAD)
            self._answer(head[start:end], head[end:])
        elif self._room <= 0:
            self.deny(_TOO_LARGE)

    def deny(self, denial: Denial) -> None:
        """Answer with `denial`, and end the connection."""
        headers: Headers = [(b"content-type", b"text/plain; charset=utf-8")]
        if denial.status in (429, 503):
            headers.append((b"retry-after", b"1"))
        self._refuse(denial.status, headers, denial.reason)

    def _refuse(self, status: int, headers: Iterable[tuple[bytes, bytes]], reason: str) -> None:
        self._head = None
        self._context.telemetry.refused(reason, self._source)
        self._transport.write(refusal(status, headers, reason.encode()))
        self._transport.close()

    def _peer(self) -> str:
        name = self._transport.get_extra_info("peername")
        return name[0] if name else "gone"  # The client has left already, and its address is not known any more.

    def _attribute(self, source: str) -> bool:
        """Count the connection for `source`. False: cut it without an answer."""
        self._source = source
        self._denial = self._context.gate.count(source)
        return self._denial is not CUT

    def _answer(self, head: bytes, early: bytes) -> None:
        fields = _Fields()
        parser = httptools.HttpRequestParser(fields)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # The fields say below whether it is an upgrade to a WebSocket.
        except httptools.HttpParserError:
            self.deny(_MALFORMED)
            return
        if not fields.are_complete:
            self.deny(_MALFORMED)
            return
        request = Request(parser.get_method().decode("ascii"), fields.target, parser.get_http_version(), fields.headers)
        if not self._source:
            self._attribute(self._context.gate.forwarded(request.headers) or self._peer())
        if request.wants_websocket():
            self._upgrade(request, early)
        elif request.has_body():
            self.deny(_BODY)
        else:
            self._exchange(head)

    def _upgrade(self, request: Request, early: bytes) -> None:
        context = self._context
        now = context.clock.time()
        if denial := self._denial or context.gate.handshake(self._source, now, context.clock.stalled):
            self.deny(denial)
            return
        try:
            handshake = Handshake(request)
        except BadHandshake as bad:
            self._refuse(bad.status, bad.headers, str(bad))
            return
        protocol = WebSocketProtocol(context, self._source, handshake)
        context.requests.discard(self)
        self._let_go(protocol)
        scheme = "wss" if self._transport.get_extra_info("sslcontext") else "ws"
        protocol.begin(request, scheme, early, AT_CAPACITY if context.gate.is_full(self._file) else None)

    def _exchange(self, head: bytes) -> None:
        exchange = _HttpExchange(self._context, self)
        self._let_go(exchange)
        exchange.begin(head, self._source)

    def _let_go(self, protocol: "WebSocketProtocol | _HttpExchange") -> None:
        self._head = None
        self._context.state.connections.discard(self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)


class _Fields:
    """What httptools finds in the head of one request."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: Headers = []
        self.are_complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.are_complete = True


class _HttpExchange(HttpToolsProtocol):
    """One plain HTTP request and its response. The connection's request timeout goes on until the response is sent."""

    def __init__(self, context: ServerContext, request: RequestProtocol) -> None:
        super().__init__(context.config, context.state, {})
        self._request = request

    def begin(self, head: bytes, source: str) -> None:
        """Have uvicorn answer the request with this head and without a body."""
        self.client = (source, 0)
        super().data_received(head)

    def data_received(self, data: bytes) -> None:
        """Ignore what comes after the request."""

    def send_400_response(self, msg: str) -> None:
        self._request.deny(_MALFORMED)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._request.connection_lost(exc)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.cycle.keep_alive = False
