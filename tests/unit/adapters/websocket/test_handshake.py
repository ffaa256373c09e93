import asyncio

import pytest

from wg_orchestrator.adapters.websocket.handshake import BadHandshake, Handshake, refusal

HEADERS = {
    b"host": b"server.example.com",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"sec-websocket-version": b"13",
}


def head(method: bytes = b"GET", target: bytes = b"/chat", **changes: bytes | None) -> bytes:
    headers = {**HEADERS, **{name.replace("_", "-").encode(): value for name, value in changes.items()}}
    lines = [name + b": " + value for name, value in headers.items() if value is not None]
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", b""])


class SomeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ["192.0.2.7", 4711], "sockname": ["192.0.2.1", 80]})


def test_the_example_of_the_rfc_is_accepted() -> None:
    response = Handshake(head()).accept()
    assert response.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response  # RFC 6455, section 1.3
    assert response.endswith(b"\r\n\r\n")


def test_the_applications_headers_and_subprotocol_are_sent() -> None:
    response = Handshake(head()).accept([(b"x-node", b"7")], "v2")
    assert b"x-node: 7\r\n" in response
    assert b"sec-websocket-protocol: v2\r\n" in response


def test_the_scope_tells_what_was_asked_for() -> None:
    scope = Handshake(head(target=b"/a%20b?c=d", sec_websocket_protocol=b"v2, v1")).scope(SomeTransport(), "/root")
    assert (scope["scheme"], scope["client"], scope["server"]) == ("ws", ("192.0.2.7", 4711), ("192.0.2.1", 80))
    assert scope["path"] == "/root/a b"
    assert scope["raw_path"] == b"/root/a%20b"
    assert scope["query_string"] == b"c=d"
    assert scope["subprotocols"] == ["v2", "v1"]
    assert (b"host", b"server.example.com") in scope["headers"]


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head(method=b"POST"), 405),
        (head(sec_websocket_version=b"8"), 426),
        (head(sec_websocket_version=None), 426),
        (head(sec_websocket_key=None), 400),
        (head(sec_websocket_key=b"short"), 400),
        (head(sec_websocket_key=b"c2hvcnQ="), 400),
        (head(sec_websocket_key=b"\xff" * 24), 400),
        (head()[:-2] + b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 400),
    ],
)
def test_anything_else_is_no_handshake(request_head: bytes, status: int) -> None:
    with pytest.raises(BadHandshake) as bad:
        Handshake(request_head)
    assert bad.value.status == status


def test_a_refusal_is_a_whole_response_with_its_own_framing() -> None:
    response = refusal(403, [(b"Content-Length", b"99"), (b"content-type", b"text/plain")], b"no")
    assert response == (
        b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    )
