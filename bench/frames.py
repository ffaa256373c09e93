"""What a client needs of RFC 6455. The mask is zero: that is valid, costs the server the same, and costs us nothing."""

import os
import struct
from base64 import b64encode
from collections.abc import Iterator

TEXT = 0x1
CLOSE = 0x8
PING = 0x9
PONG = 0xA

_NO_MASK = bytes(4)


def masked(opcode: int, payload: bytes) -> bytes:
    """One whole client frame of less than 64 KiB."""
    if len(payload) < 126:
        return bytes((0x80 | opcode, 0x80 | len(payload))) + _NO_MASK + payload
    return struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(payload)) + _NO_MASK + payload


CLOSE_1000 = masked(CLOSE, struct.pack("!H", 1000))
CLOSE_1012 = masked(CLOSE, struct.pack("!H", 1012))


def handshake(tenant: str, port: int, subprotocol: str = "") -> bytes:
    """The opening request, without extensions."""
    asked_for = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"GET /tenants/{tenant} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n{asked_for}\r\n"
    ).encode()


def first(data: bytes | bytearray, start: int = 0) -> tuple[int, int, int] | None:
    """The first byte of the frame at `start`, and where its payload starts and ends; None if it is not all there."""
    if len(data) < start + 2:
        return None
    size = data[start + 1]
    begin = start + 2
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < begin + width:
            return None
        size = int.from_bytes(data[begin : begin + width], "big")
        begin += width
    if len(data) < begin + size:
        return None
    return data[start], begin, begin + size


def texts(data: bytes) -> Iterator[bytes]:
    """The payloads of `data`, which must be whole, final text frames and nothing else. Raises ValueError."""
    start = 0
    while start < len(data):
        frame = first(data, start)
        if frame is None or frame[0] != 0x80 | TEXT:
            raise ValueError(f"no whole text frame at byte {start} of {len(data)}: {data[start : start + 16]!r}")
        yield data[frame[1] : frame[2]]
        start = frame[2]
