import binascii
import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import unquote

Headers = list[tuple[bytes, bytes]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %s\r\n%s\r\n"
)


class BadHandshake(Exception):
    """The request is no valid opening handshake (RFC 6455, section 4.2.1). Answer with `status` and `headers`."""

    def __init__(self, reason: str, status: int = 400, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an HTTP request. The names of `headers` are in lower case."""

    method: str
    target: bytes
    http_version: str
    headers: Headers

    def wants_websocket(self) -> bool:
        """Whether it asks for an upgrade (RFC 9110, section 7.8) to a WebSocket."""
        return b"websocket" in _tokens(self.headers, b"upgrade") and b"upgrade" in _tokens(self.headers, b"connection")

    def has_body(self) -> bool:
        """Whether a body follows the head (RFC 9112, section 6)."""
        for name, value in self.headers:
            if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                return True
        return False


class Handshake:
    """A client's opening handshake."""

    __slots__ = ("_key",)

    def __init__(self, request: Request) -> None:
        """Raises BadHandshake if `request` is not a valid one."""
        fields, names = dict(request.headers), [name for name, _ in request.headers]
        if names.count(b"host") != 1:
            raise BadHandshake("Host is given once")  # RFC 9112, section 3.2
        if names.count(b"sec-websocket-key") > 1:
            raise BadHandshake("Sec-WebSocket-Key is given once")
        if request.has_body():
            raise BadHandshake("a handshake has no body")
        if request.method != "GET" or request.http_version != "1.1":
            raise BadHandshake("a WebSocket is opened with GET over HTTP/1.1", 405, [(b"allow", b"GET")])
        if fields.get(b"sec-websocket-version") != b"13" or names.count(b"sec-websocket-version") > 1:
            raise BadHandshake("the WebSocket version is 13", 426, [(b"sec-websocket-version", b"13")])
        self._key = fields.get(b"sec-websocket-key", b"")
        try:
            nonce = binascii.a2b_base64(self._key)
        except binascii.Error as error:
            raise BadHandshake("Sec-WebSocket-Key is base64") from error
        # The decoder skips characters that are not base64. 24 characters that make 16 bytes contain none.
        if len(nonce) != 16 or len(self._key) != 24:
            raise BadHandshake("Sec-WebSocket-Key is 16 bytes")

    def accept(self, headers: Iterable[tuple[bytes, bytes]] = (), subprotocol: str | None = None) -> bytes:
        """The 101 response (section 4.2.2). It never accepts an extension."""
        digest = binascii.b2a_base64(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest(), newline=False)
        chosen = [(b"sec-websocket-protocol", subprotocol.encode())] if subprotocol else []
        return _SWITCHING % (digest, _fields([*chosen, *headers]))


def websocket_scope(request: Request, scheme: str, client: str, root_path: str) -> dict[str, Any]:
    """The ASGI scope for a WebSocket handshake: https://asgi.readthedocs.io/en/latest/specs/www.html."""
    raw_path, _, query_string = request.target.partition(b"?")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": request.http_version,
        "scheme": scheme,
        "client": (client, 0),
        "root_path": root_path,
        "path": root_path + unquote(raw_path.decode("latin-1")),
        "raw_path": root_path.encode() + raw_path,
        "query_string": query_string,
        "headers": request.headers,
        "subprotocols": [
            token.strip()
            for name, value in request.headers
            if name == b"sec-websocket-protocol"
            for token in value.decode("latin-1").split(",")
        ],
    }


def host_name(host: str) -> str:
    """The name in a Host field (RFC 9110, section 7.2), in lower case, without the port and one final dot. An IPv6
    address keeps its brackets and gets its shortest form; the result is empty if it is not a valid address.
    """
    if host.startswith("["):
        inner = host[1:].partition("]")[0]
        with suppress(ValueError):
            return f"[{IPv6Address(inner).compressed}]"
        return ""
    return host.partition(":")[0].removesuffix(".").lower()


def refusal(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    """A whole HTTP response that ends the connection instead of upgrading it."""
    framing = {b"connection", b"content-length", b"transfer-encoding"}
    kept = [(name, value) for name, value in headers if name.lower() not in framing]
    kept += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
    status_line = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
    return status_line + _fields(kept) + b"\r\n" + body


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([name + b": " + value + b"\r\n" for name, value in headers])


def _tokens(headers: Headers, name: bytes) -> list[bytes]:
    return [token.strip().lower() for key, value in headers if key == name for token in value.split(b",")]
