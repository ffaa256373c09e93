from tests.integration.bad_inputs.case import WELCOMED, Case, Closed, Dropped
from tests.integration.service import join_message

MASK = b"\x37\xfa\x21\x3d"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_RSV1, _RSV2, _RSV3 = 0x40, 0x20, 0x10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0, size: bytes | None = None) -> bytes:
    """A client's frame. `bits` are added to its first byte; `size` replaces the true size."""
    if size is None:
        short = len(payload) < 126
        size = bytes((len(payload),)) if short else bytes((126,)) + len(payload).to_bytes(2, "big")
    masked = bytes(byte ^ MASK[position % 4] for position, byte in enumerate(payload))
    return bytes((0x80 * fin | opcode | bits, 0x80 | size[0])) + size[1:] + MASK + masked


def text(payload: bytes | str) -> bytes:
    return frame(TEXT, payload.encode() if isinstance(payload, str) else payload)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def _size(length: int) -> bytes:
    return b"\x7f" + length.to_bytes(8, "big")


def _case(name: str, code: int, reason: str, frames: bytes) -> Case:
    return Case(name, Closed(code, reason), frames=frames)


NUMBER = 9
JOIN = text(join_message(NUMBER))
LONG_JOIN = join_message(NUMBER, display_name="x" * 64).encode()
_UNKNOWN, _CONTROL, _ORDER = "unknown frame type", "long or fragmented control frame", "fragments out of order"

FORBIDDEN = [
    _case("an unmasked text", 1002, "unmasked frame", b"\x81\x02{}"),
    _case("an unmasked close frame", 1002, "unmasked frame", b"\x88\x00"),
    _case("the first reserved bit", 1002, _UNKNOWN, frame(TEXT, b"{}", bits=_RSV1)),
    _case("the second reserved bit", 1002, _UNKNOWN, frame(TEXT, b"{}", bits=_RSV2)),
    _case("the third reserved bit, on a ping", 1002, _UNKNOWN, frame(PING, bits=_RSV3)),
    _case("a reserved opcode", 1002, _UNKNOWN, frame(0x3, b"x")),
    _case("a reserved control opcode", 1002, _UNKNOWN, frame(0xB)),
    _case("a fragmented ping", 1002, _CONTROL, frame(PING, b"x", fin=False)),
    _case("a fragmented close frame", 1002, _CONTROL, frame(CLOSE, b"\x03\xe8", fin=False)),
    _case("a ping of 126 bytes", 1002, _CONTROL, frame(PING, b"x" * 126)),
    _case("a close frame of 126 bytes", 1002, _CONTROL, close(1000, b"x" * 124)),
    _case("a ping that announces 64 bits of length", 1002, _CONTROL, frame(PING, size=_size(2**63))),
    _case("a continuation of nothing", 1002, _ORDER, frame(CONTINUATION, b"x")),
    _case("a text amid fragments", 1002, _ORDER, frame(TEXT, b"{", fin=False) + text(b"}")),
    _case("a binary message amid fragments", 1002, _ORDER, frame(TEXT, b"{", fin=False) + frame(BINARY, b"}")),
    _case("a continuation after the last fragment", 1002, _ORDER,
          frame(PING) + frame(TEXT, b"", fin=False) + frame(PONG) + frame(TEXT, b"{}", fin=False)),
    _case("an HTTP request in the place of a frame", 1002, _UNKNOWN, b"\x7fGET / HTTP/1.1\r\n\r\n"),
]  # fmt: skip

TOO_BIG = [
    _case("a message of 4,097 bytes", 1009, "too big", text(b"x" * 4097)),
    _case("a message that announces 2^63 bytes", 1009, "too big", frame(TEXT, size=_size(2**63))),
    _case("a message that announces 2^64 - 1 bytes", 1009, "too big", frame(TEXT, size=_size(2**64 - 1))),
    _case("a message that announces 4 GiB and sends 4 KiB", 1009, "too big",
          frame(TEXT, b"x" * 4096, size=_size(2**32))),
    _case("a message of 4,097 bytes in two fragments", 1009, "too big",
          frame(TEXT, b"x" * 4096, fin=False) + frame(CONTINUATION, b"x")),
    _case("a message of 4,100 bytes in 10 fragments", 1009, "too big",
          frame(TEXT, b"x" * 410, fin=False) + frame(CONTINUATION, b"x" * 410, fin=False) * 9),
    _case("a message in 17 fragments", 1008, "policy",
          frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * 16),
    _case("a binary message of 4,097 bytes", 1009, "too big", frame(BINARY, b"x" * 4097)),
]  # fmt: skip

UTF8 = [
    _case("a text that is no UTF-8", 1007, "invalid utf-8", text(b'{"display_name": "\xff"}')),
    _case("a text with a surrogate in UTF-8", 1007, "invalid utf-8", text(b"\xed\xa0\x80")),
    _case("a text in overlong UTF-8", 1007, "invalid utf-8", text(b"\xc0\xaf")),
    _case("a text beyond Unicode", 1007, "invalid utf-8", text(b"\xf4\x90\x80\x80")),
    _case("a text in UTF-16", 1007, "invalid utf-8", text('{"ä"'.encode("utf-16"))),
    _case("a text that ends amid a character", 1007, "invalid utf-8", text(b"\xe2\x82")),
    _case("a character broken across fragments", 1007, "invalid utf-8",
          frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b"x")),
    _case("a close reason that is no UTF-8", 1007, "invalid utf-8", close(1000, b"\xff")),
]  # fmt: skip

CLOSES = [
    _case("a close frame of one byte", 1002, "half a close code", frame(CLOSE, b"\x03")),
    *(
        _case(f"close code {code}", 1002, "unknown close code", close(code))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ),
    _case("a close frame before the join", 1001, "", close(1001, b"bye")),
    _case("a close frame, and more after it", 1001, "", close(1001) + JOIN + frame(0xF)),
]

FLOODS = [
    _case("pings over the rate", 1008, "policy", frame(PING, b"x" * 125) * 101),
    _case("pongs over the rate", 1008, "policy", frame(PONG) * 101),
    _case("empty fragments over the rate", 1008, "policy",
          frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 100),
    Case("texts over the rate", Closed(1008, "policy"), frames=JOIN, then=text(b"") * 100),
    Case("joins over the rate", Closed(1008, "policy"), frames=JOIN, then=JOIN * 100),
]  # fmt: skip

AFTER_THE_JOIN = [
    Case("a second join", WELCOMED, frames=JOIN, then=text(join_message(NUMBER + 1))),
    Case("the same join again", WELCOMED, frames=JOIN, then=JOIN),
    Case("two joins at once", WELCOMED, frames=JOIN + text(join_message(NUMBER + 1))),
    Case("text that is not JSON after the join", WELCOMED, frames=JOIN, then=text(b"still here")),
    Case("a binary message after the join", Closed(1003, "text only"), frames=JOIN, then=frame(BINARY, b"x")),
    Case("an unmasked frame after the join", Closed(1002, "unmasked frame"), frames=JOIN, then=b"\x81\x00"),
    Case("an unmasked frame at once with the join", Closed(1002, "unmasked frame"), frames=JOIN + b"\x81\x00"),
    Case("invalid UTF-8 after the join", Closed(1007, "invalid utf-8"), frames=JOIN, then=text(b"\xff")),
    Case("too much after the join", Closed(1009, "too big"), frames=JOIN, then=text(b"x" * 4097)),
    Case("a bad close code after the join", Closed(1002, "unknown close code"), frames=JOIN, then=close(5000)),
    Case("half a frame after the join, and the end of the stream", Dropped(), frames=JOIN, then=b"\x81", ends=True),
]

ODD = [
    Case("a pong that nobody asked for", WELCOMED, frames=frame(PONG, b"x" * 125) + JOIN),
    Case("a join between pings", WELCOMED, frames=frame(PING) + JOIN + frame(PING)),
    Case("a join with empty fragments around it", WELCOMED,
         frames=frame(TEXT, fin=False) + frame(CONTINUATION, join_message(NUMBER).encode(), fin=False)
         + frame(PING) + frame(CONTINUATION)),
    Case("a join of which each byte is a fragment", Closed(1008, "policy"), frames=frame(TEXT, fin=False)
         + b"".join(frame(CONTINUATION, bytes((byte,)), fin=False) for byte in LONG_JOIN)),
    Case("a frame that never ends, and the end of the stream", Dropped(), frames=JOIN[:-1], ends=True),
    Case("half a frame's header, and the end of the stream", Dropped(), frames=b"\x81\xfe\x00", ends=True),
]  # fmt: skip

FIRST = [
    _case("a binary message first", 1003, "text only", frame(BINARY, join_message(NUMBER).encode())),
    _case("an empty binary message first", 1003, "text only", frame(BINARY)),
    _case("a binary message in fragments first", 1003, "text only",
          frame(BINARY, b"{", fin=False) + frame(CONTINUATION, b"}")),
]  # fmt: skip

FRAMES = [*FORBIDDEN, *TOO_BIG, *UTF8, *CLOSES, *FLOODS, *AFTER_THE_JOIN, *ODD, *FIRST]
