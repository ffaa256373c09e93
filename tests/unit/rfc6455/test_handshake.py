import pytest

from wg_orchestrator.rfc6455.handshake import (
    BadHandshake,
    Handshake,
    Headers,
    Request,
    host_name,
    refusal,
    websocket_scope,
)

HEADERS: Headers = [
    (b"host", b"server.example.com"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]


def changed(name: bytes, value: bytes | None) -> Headers:
    return [(key, old) for key, old in HEADERS if key != name] + ([(name, value)] if value is not None else [])


def test_the_example_of_the_rfc_is_accepted() -> None:
    response = Handshake(Request("GET", b"/", "1.1", HEADERS)).accept()
    assert response.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response  # RFC 6455, section 1.3
    assert response.endswith(b"\r\n\r\n")


def test_the_applications_headers_and_subprotocol_are_sent() -> None:
    response = Handshake(Request("GET", b"/", "1.1", HEADERS)).accept([(b"x-node", b"7")], "v2")
    assert b"x-node: 7\r\n" in response
    assert b"sec-websocket-protocol: v2\r\n" in response


def test_the_scope_tells_what_was_asked_for() -> None:
    headers = [*HEADERS, (b"sec-websocket-protocol", b"v2, v1")]
    scope = websocket_scope(Request("GET", b"/a%20b?c=d", "1.1", headers), "wss", "::1", "/prefix")
    assert (scope["type"], scope["scheme"], scope["client"]) == ("websocket", "wss", ("::1", 0))
    assert scope["path"] == "/prefix/a b"
    assert scope["raw_path"] == b"/prefix/a%20b"
    assert scope["query_string"] == b"c=d"
    assert scope["subprotocols"] == ["v2", "v1"]
    assert scope["headers"] == headers


@pytest.mark.parametrize(
    ("method", "version", "headers", "status"),
    [
        ("POST", "1.1", HEADERS, 405),
        ("GET", "1.0", HEADERS, 405),
        ("GET", "1.1", changed(b"sec-websocket-version", b"8"), 426),
        ("GET", "1.1", changed(b"sec-websocket-version", None), 426),
        ("GET", "1.1", changed(b"sec-websocket-key", None), 400),
        ("GET", "1.1", changed(b"sec-websocket-key", b"short"), 400),
        ("GET", "1.1", changed(b"sec-websocket-key", b"c2hvcnQ="), 400),
        ("GET", "1.1", changed(b"sec-websocket-key", b"\xff" * 24), 400),
        ("GET", "1.1", HEADERS + HEADERS, 400),
    ],
)
def test_anything_else_is_no_handshake(method: str, version: str, headers: Headers, status: int) -> None:
    with pytest.raises(BadHandshake) as bad:
        Handshake(Request(method, b"/", version, headers))
    assert bad.value.status == status


def test_a_refusal_is_a_whole_response_with_its_own_framing() -> None:
    response = refusal(403, [(b"Content-Length", b"99"), (b"content-type", b"text/plain")], b"no")
    assert response == (
        b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"
    )


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("wg.example", "wg.example"), ("WG.Example.:8000", "wg.example"), ("192.0.2.1:80", "192.0.2.1"),
        ("[2001:DB8:0::1]:8000", "[2001:db8::1]"), ("[::1]", "[::1]"), ("[nonsense]", ""), ("[::1", "[::1]"), ("", ""),
        (":8000", ""), ("wg.example..", "wg.example."), ("wg.example@evil", "wg.example@evil"),
    ],
)  # fmt: skip
def test_a_hosts_name_is_without_port_and_final_dot_and_in_lower_case(host: str, name: str) -> None:
    assert host_name(host) == name
