"""Bytes of a hostile HTTP client, for fuzzing: whole and cut requests, and what may come between them."""

from hypothesis import strategies as st

_FIELDS = (
    b"Host: x", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Origin: http://x", b"X: " + b"y" * 300, b"Content-Length: 0",
    b"Content-Length: 5", b"Content-Length: 9999999999", b"Transfer-Encoding: chunked", b"Expect: 100-continue",
    b"Connection: close", b"Upgrade: h2c", b"X:", b"X : y", b" folded", b"no colon",
)  # fmt: skip
HANDSHAKE = b"GET /tenants/acme HTTP/1.1\r\n" + b"\r\n".join(_FIELDS[:5]) + b"\r\n\r\n"
PLAIN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

_LINES = st.builds(
    lambda method, target, version: b"%s %s%s\r\n" % (method, target, version),
    st.sampled_from([b"GET", b"GET", b"POST", b"HEAD", b"CONNECT", b"PRI", b"get", b"FROB"]),
    st.sampled_from([b"/healthz", b"/tenants/acme", b"/tenants/acme?a=", b"/x", b"*", b"http://x/", b"", b"/\xff"]),
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b"", b" HTTP/9.9"]),
)
_HEADS = st.builds(
    lambda line, fields: line + b"".join(field + b"\r\n" for field in fields) + b"\r\n",
    _LINES,
    st.lists(st.sampled_from(_FIELDS), max_size=6),
)
_BLANKS = st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r\n\r\n\r\n", b"\n", b"\r", b"\r\n" * 40])
_ENDLESS = st.sampled_from([b"GET / HTTP/1.1\r\nX: ", b"GET /", b"POST / HTTP/1.1\r\n", b"5\r\n", b"\x81\x85mask"])

_BARE = st.builds(lambda target: b"GET %s HTTP/1.1\r\n\r\n" % target, st.sampled_from([b"/x", b"/tenants/acme?a="]))

REQUEST_STREAMS = st.one_of(
    st.lists(
        st.one_of(st.just(HANDSHAKE), st.just(PLAIN), _HEADS, _HEADS, _BLANKS, _ENDLESS, st.binary(max_size=10)),
        min_size=1,
        max_size=5,
    ).map(b"".join),
    st.tuples(_BLANKS, _ENDLESS).map(b"".join),
    st.tuples(_BARE, st.one_of(_HEADS, st.just(HANDSHAKE))).map(b"".join),
)
"""All that a client may send before it goes on for ever with one of PADDINGS."""

PADDINGS = st.sampled_from([b"x", b"\r\n", b"X: y\r\n", b"\0", b" "])
"""What a client may repeat for ever."""


def whole_head(stream: bytes) -> bytes | None:
    """The head of the first request in `stream`, and what comes before it; None if the head is not complete."""
    start = len(stream) - len(stream.lstrip(b"\r\n"))
    end = stream.find(b"\r\n\r\n", start)
    return None if end < 0 else stream[: end + 4]


def first_head(stream: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]] | None:
    """The path and the fields of the first request in `stream`, read naively; None if its head is not complete."""
    head, end, _ = stream.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if not end:
        return None
    line, *fields = head.split(b"\r\n")
    pairs = [field.partition(b":")[::2] for field in fields]
    return path_of(line.split(b" ")[1]), [(name.lower(), value.strip()) for name, value in pairs]


def path_of(target: bytes) -> bytes:
    """`target` without scheme and authority, if it is in absolute form (RFC 9112, section 3.2.2)."""
    return target.removeprefix(b"http://x")
