from tests.integration.bad_inputs.case import HANDSHAKE, USUAL, WELCOMED, Case, Closed, Dropped, Fields, Status, request
from tests.integration.bad_inputs.frames import JOIN

PLAIN = USUAL.without("Upgrade", "Connection").plus("Connection: close")


def _target(name: str, status: int, target: str) -> Case:
    return Case(name, Status(status), request(target=target))


def _field(name: str, status: int, fields: Fields) -> Case:
    return Case(name, Status(status), request(fields=fields))


def _raw(name: str, sent: bytes, status: int = 400) -> Case:
    return Case(name, Status(status), sent)


def _welcomed(name: str, fields: Fields) -> Case:
    return Case(name, WELCOMED, request(fields=fields), JOIN)


METHODS = [
    *(Case(f"{method} instead of GET", Status(405), request(method)) for method in ("POST", "HEAD", "PUT", "CONNECT")),
    Case("a method in lower case", Status(400), request("get")),
    Case("an unknown method", Status(400), request("FROB")),
    Case("HTTP/1.0", Status(405), request(version="HTTP/1.0")),
    Case("HTTP/2.0 in a request line", Status(405), request(version="HTTP/2.0")),
    Case("an HTTP version that there is not", Status(400), request(version="HTTP/9.9")),
    Case("HTTP/0.9", Status(404), b"GET /tenants/acme\r\n\r\n"),
]

VERSIONS_AND_KEYS = [
    _field("no WebSocket version", 426, USUAL.without("Sec-WebSocket-Version")),
    _field("WebSocket version 8", 426, USUAL.instead("Sec-WebSocket-Version: 8")),
    _field("WebSocket versions in a list", 426, USUAL.instead("Sec-WebSocket-Version: 13, 8")),
    _field("a WebSocket version with a leading zero", 426, USUAL.instead("Sec-WebSocket-Version: 013")),
    _field("a WebSocket version that is no ASCII", 426, USUAL.instead("Sec-WebSocket-Version: 1\xb3")),
    _field("13 and another WebSocket version after it", 426, USUAL.plus("Sec-WebSocket-Version: 8")),
    _field(
        "13 after another WebSocket version",
        426,
        USUAL.instead("Sec-WebSocket-Version: 8").plus("Sec-WebSocket-Version: 13"),
    ),
    _field("no host", 400, USUAL.without("Host")),
    _field("two hosts", 400, USUAL.plus("Host: y")),
    _field("no WebSocket key", 400, USUAL.without("Sec-WebSocket-Key")),
    _field("a WebSocket key twice", 400, USUAL.plus("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")),
    _field("an empty WebSocket key", 400, USUAL.instead("Sec-WebSocket-Key:")),
    _field("a WebSocket key of 3 bytes", 400, USUAL.instead("Sec-WebSocket-Key: AAAA")),
    _field("a WebSocket key of 20 bytes", 400, USUAL.instead(f"Sec-WebSocket-Key: {'A' * 27}=")),
    _field("a WebSocket key of 8,000 characters", 400, USUAL.instead(f"Sec-WebSocket-Key: {'A' * 8000}")),
    _field("a WebSocket key that is no base64", 400, USUAL.instead(f"Sec-WebSocket-Key: {'!' * 22}==")),
    _field("a WebSocket key that is no ASCII", 400, USUAL.instead(f"Sec-WebSocket-Key: {'é' * 24}")),
]

UPGRADES = [
    _field("no Upgrade and no Connection", 404, PLAIN),
    _field("no Upgrade", 404, USUAL.without("Upgrade").instead("Connection: upgrade, close")),
    _field("no Connection: Upgrade", 404, USUAL.instead("Connection: close")),
    _field("an upgrade to HTTP/2", 404, USUAL.instead("Upgrade: h2c").instead("Connection: upgrade, close")),
    _welcomed("an upgrade in another case", USUAL.instead("Upgrade: WebSocket")),
    _welcomed("a connection field with more in it", USUAL.instead("Connection: keep-alive, Upgrade")),
]

NO_HTTP = [
    _raw("garbage instead of HTTP", b"\x00\x01\x02garbage\r\n\r\n"),
    _raw("a TLS ClientHello on the plain port", bytes.fromhex("16030100c8010000c40303") + b"x" * 193),
    _raw("an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    _raw("a greeting of SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
    _raw("a WebSocket frame without a handshake", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
    _raw("an HTTP response", b"HTTP/1.1 200 OK\r\n\r\n"),
    _raw("a PROXY line", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + HANDSHAKE),
    Case("nothing at all", Dropped(), b"", ends=True),
    Case("half a request", Dropped(), HANDSHAKE[:60], ends=True),
]

HEADER_LINES = [
    _field("a NUL in a header field", 400, USUAL.plus("X: a\0b")),
    _field("a CR in a header field", 400, USUAL.plus("X: a\rb")),
    _field("an LF in a header field", 400, USUAL.plus("X: a\nY: b")),
    _field("a NUL in a field name", 400, USUAL.plus("X\0: y")),
    _field("a folded header field", 400, USUAL.plus("X: a", " b")),
    _field("a space before a colon", 400, USUAL.plus("X : y")),
    _field("a field without a colon", 400, USUAL.plus("X")),
    _field("a field without a name", 400, USUAL.plus(": y")),
    _raw("lines that end with LF alone", HANDSHAKE.replace(b"\r\n", b"\n")),
    _welcomed("a subprotocol that is no ASCII", USUAL.plus("Sec-WebSocket-Protocol: caf\xe9")),
    _welcomed("a subprotocol that is no token", USUAL.plus("Sec-WebSocket-Protocol: a b, (c), ,")),
    _welcomed("an extension that is none", USUAL.plus("Sec-WebSocket-Extensions: permessage-deflate; ;;=")),
    _welcomed("a header field that is no UTF-8", USUAL.plus("X: \xff\xfe")),
]

TARGETS = [
    _target("no tenant id", 403, "/tenants/"),
    _target("no tenants", 403, "/tenants"),
    _target("a path below a tenant", 403, "/tenants/acme/"),
    _target("a path where nothing is", 403, "/elsewhere"),
    _target("a WebSocket where the health is", 403, "/health"),
    _target("a path with two slashes", 403, "//tenants/acme"),
    _target("a way up and down again", 403, "/tenants/../tenants/acme"),
    _target("an encoded slash", 403, "/tenants/a%2fb"),
    _target("a backslash", 403, "/tenants\\acme"),
    _target("a target in absolute form", 403, "http://x/tenants/acme"),
    _target("a target in absolute form that names another host", 403, "ws://evil.example/tenants/acme"),
    _target("a target that is an asterisk", 403, "*"),
    _target("a target without a slash", 400, "tenants/acme"),
    _target("a target with a fragment", 400, "/tenants/acme#x"),
    _target("a tenant id of 65 characters", 400, "/tenants/" + "x" * 65),
    _target("a tenant id of 8,000 characters", 400, "/tenants/" + "x" * 8000),
    _target("a tenant id in another script", 400, "/tenants/%C3%A4"),
    _target("a tenant id in full width", 400, "/tenants/%EF%BD%81"),
    _target("a tenant id in overlong UTF-8", 400, "/tenants/%C0%AE"),
    _target("a tenant id with an encoded NUL", 400, "/tenants/a%00b"),
    _target("a tenant id with an encoded line end", 400, "/tenants/a%0d%0ab"),
    _target("a tenant id encoded twice", 400, "/tenants/a%252e"),
    _target("a tenant id with half an encoding", 400, "/tenants/acme%"),
    _target("a tenant id with a parameter", 400, "/tenants/acme;x=1"),
    _target("a target that is no ASCII", 400, "/tenants/\xe4"),
    _target("a target with a space", 400, "/tenants/a b"),
    _target("a target with a NUL", 400, "/tenants/a\0b"),
]

ORIGINS = [
    _field("a foreign origin", 403, USUAL.plus("Origin: https://evil.example")),
    _field("a null origin", 403, USUAL.plus("Origin: null")),
    _field("an empty origin", 403, USUAL.plus("Origin:")),
    _field("an origin that only begins like the service's", 403, USUAL.plus("Origin: http://x.evil.example")),
    _field("an origin with the service's name before an @", 403, USUAL.plus("Origin: http://x@evil.example")),
    _field("an origin that is no ASCII", 403, USUAL.plus("Origin: http://\xe9")),
    _field("a foreign origin that a second Host names", 400, USUAL.plus("Host: evil", "Origin: http://evil")),
    _field("a foreign origin before the service's own", 403, USUAL.plus("Origin: http://evil", "Origin: http://x")),
    _field("the service's own origin before a foreign one", 403, USUAL.plus("Origin: http://x", "Origin: http://evil")),
    _field("an origin with half an IPv6 address", 403, USUAL.plus("Origin: http://[::1")),
    _field("an origin with no IPv6 address in brackets", 403, USUAL.plus("Origin: http://[x]")),
    _field("no origin's host and no host", 403, USUAL.instead("Host:").plus("Origin: null")),
    _welcomed("the service's own origin", USUAL.plus("Origin: http://x")),
]

SMUGGLING = [
    _field("two lengths of one body", 400, USUAL.plus("Content-Length: 5", "Content-Length: 6")),
    _field("a length below zero", 400, USUAL.plus("Content-Length: -1")),
    _field("a length over 64 bits", 400, USUAL.plus("Content-Length: 99999999999999999999999")),
    _field("a length with a sign", 400, USUAL.plus("Content-Length: +5")),
    _raw("a length and chunks", request(fields=USUAL.plus("Content-Length: 4", "Transfer-Encoding: chunked"))),
    _raw("chunks that are not the last encoding", request(fields=USUAL.plus("Transfer-Encoding: chunked, identity"))),
    _raw(
        "a handshake behind a body that has a length and chunks",
        request("POST", fields=PLAIN.plus("Content-Length: 4", "Transfer-Encoding: chunked"))
        + b"0\r\n\r\n"
        + HANDSHAKE,
    ),
    _raw(
        "a chunk whose length is no number",
        request("POST", fields=PLAIN.plus("Transfer-Encoding: chunked")) + b"zz\r\n" + HANDSHAKE,
    ),
    Case(
        "a handshake behind a handshake is no second one",
        Closed(1002, "unknown frame type"),
        frames=HANDSHAKE,
    ),
    Case(
        "a handshake that is the body of a handshake",
        Status(400),
        request(fields=USUAL.plus(f"Content-Length: {len(HANDSHAKE)}")) + HANDSHAKE,
        JOIN,
    ),
    _field("a handshake with a body that never comes", 400, USUAL.plus("Content-Length: 9")),
    Case("a handshake with a body", Status(400), request(fields=USUAL.plus("Content-Length: 5")) + b"hello"),
    _field("a handshake with a body in chunks", 400, USUAL.plus("Transfer-Encoding: chunked")),
    _field("a handshake in an encoding that there is not", 400, USUAL.plus("Transfer-Encoding: xchunked")),
]

HANDSHAKES = [
    *METHODS, *VERSIONS_AND_KEYS, *UPGRADES, *NO_HTTP, *HEADER_LINES, *TARGETS, *ORIGINS, *SMUGGLING,
]  # fmt: skip
