import asyncio
import base64
import binascii
import hashlib
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

Headers = list[tuple[bytes, bytes]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class BadHandshake(Exception):
    """The request is no opening handshake (RFC 6455, section 4.2.1); `status` and `headers` are the answer."""

    def __init__(self, reason: str, status: int = 400, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class Handshake:
    """A client's opening handshake, from the request head that uvicorn's HTTP protocol has parsed and rebuilt."""

    __slots__ = ("_key", "headers", "subprotocols", "target")

    def __init__(self, head: bytes) -> None:
        """Raises BadHandshake. `head` is well-formed HTTP/1.1; what it asks for is checked here."""
        request_line, *lines = head.rstrip(b"\r\n").split(b"\r\n")
        method, self.target, _ = request_line.split(b" ")
        self.headers: Headers = []
        for line in lines:
            name, _, value = line.partition(b": ")
            self.headers.append((name, value))
        fields = dict(self.headers)
        if method != b"GET":
            raise BadHandshake("a WebSocket is opened with GET", 405, [(b"allow", b"GET")])
        if fields.get(b"sec-websocket-version") != b"13":
            raise BadHandshake("the WebSocket version is 13", 426, [(b"sec-websocket-version", b"13")])
        self._key = fields.get(b"sec-websocket-key", b"")
        try:
            nonce = base64.b64decode(self._key, validate=True)
        except binascii.Error as error:
            raise BadHandshake("Sec-WebSocket-Key is base64") from error
        if len(nonce) != 16 or [name for name, _ in self.headers].count(b"sec-websocket-key") != 1:
            raise BadHandshake("Sec-WebSocket-Key is 16 bytes, once")
        self.subprotocols = [
            token.strip()
            for name, value in self.headers
            if name == b"sec-websocket-protocol"
            for token in value.decode("latin-1").split(",")
        ]

    def scope(self, transport: asyncio.Transport, root_path: str) -> dict[str, Any]:
        """The ASGI scope of the connection, but for the server's state and extensions."""
        raw_path, _, query_string = self.target.partition(b"?")
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(transport) else "ws",
            "client": get_remote_addr(transport),
            "server": get_local_addr(transport),
            "root_path": root_path,
            "path": root_path + unquote(raw_path.decode("latin-1")),
            "raw_path": root_path.encode() + raw_path,
            "query_string": query_string,
            "headers": self.headers,
            "subprotocols": self.subprotocols,
        }

    def accept(self, headers: Iterable[tuple[bytes, bytes]] = (), subprotocol: str | None = None) -> bytes:
        """The 101 response (section 4.2.2). Extensions are never agreed on."""
        digest = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        chosen = [(b"sec-websocket-protocol", subprotocol.encode())] if subprotocol else []
        return response_head(
            101,
            [
                (b"upgrade", b"websocket"),
                (b"connection", b"Upgrade"),
                (b"sec-websocket-accept", digest),
                *chosen,
                *headers,
            ],
        )


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """An HTTP/1.1 status line and header fields (RFC 9112)."""
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", b""])


def refusal(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A whole HTTP response that ends the connection instead of upgrading it."""
    framing = {b"connection", b"content-length", b"transfer-encoding"}
    kept = [(name, value) for name, value in headers if name.lower() not in framing]
    return response_head(status, [*kept, (b"content-length", b"%d" % len(body)), (b"connection", b"close")]) + body
