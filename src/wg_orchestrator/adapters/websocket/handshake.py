import base64
import binascii
import hashlib
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

Headers = list[tuple[bytes, bytes]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class BadHandshake(Exception):
    """The request is no opening handshake (RFC 6455, section 4.2.1); `status` and `headers` are the answer."""

    def __init__(self, reason: str, status: int = 400, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


class Handshake:
    """A client's opening handshake, from the request that uvicorn's HTTP protocol has parsed."""

    __slots__ = ("_key",)

    def __init__(self, method: str, http_version: str, headers: Headers) -> None:
        """Raises BadHandshake. The names of `headers` are in lower case."""
        fields = dict(headers)
        if method != "GET" or http_version != "1.1":
            raise BadHandshake("a WebSocket is opened with GET over HTTP/1.1", 405, [(b"allow", b"GET")])
        if fields.get(b"sec-websocket-version") != b"13":
            raise BadHandshake("the WebSocket version is 13", 426, [(b"sec-websocket-version", b"13")])
        self._key = fields.get(b"sec-websocket-key", b"")
        try:
            nonce = base64.b64decode(self._key, validate=True)
        except binascii.Error as error:
            raise BadHandshake("Sec-WebSocket-Key is base64") from error
        if len(nonce) != 16 or sum(name == b"sec-websocket-key" for name, _ in headers) != 1:
            raise BadHandshake("Sec-WebSocket-Key is 16 bytes, once")

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


def websocket_scope(http_scope: dict[str, Any], target: bytes) -> dict[str, Any]:
    """Make the ASGI scope of a WebSocket out of the one that uvicorn has begun for the request for `target`."""
    raw_path, _, query_string = target.partition(b"?")
    root_path = http_scope["root_path"]
    return {
        **http_scope,
        "type": "websocket",
        "scheme": "wss" if http_scope["scheme"] == "https" else "ws",
        "path": root_path + unquote(raw_path.decode("latin-1")),
        "raw_path": root_path.encode() + raw_path,
        "query_string": query_string,
        "subprotocols": [
            token.strip()
            for name, value in http_scope["headers"]
            if name == b"sec-websocket-protocol"
            for token in value.decode("latin-1").split(",")
        ],
    }


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
