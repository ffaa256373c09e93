from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

# The server's side of RFC 6455: client frames are masked, server frames are not, and no extension is ever accepted.

MAX_CLOSE_REASON = 123
_MAX_CONTROL = 125
_CONTROL = 0x08
"""This bit of an opcode marks a control frame (section 5.5)."""
_U16 = Struct("!H")
_U64 = Struct("!Q")


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_OPCODES = {opcode.value: opcode for opcode in Opcode}


class Violation(Exception):
    """The client broke RFC 6455 or a limit. The server has to close the connection with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """One whole server frame. It is not masked, so the same bytes serve every receiver."""
    return frame_header(opcode, len(payload)) + payload


def frame_header(opcode: Opcode, size: int) -> bytes:
    """The header that makes a payload of `size` bytes one whole server frame."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + _U16.pack(size)
    return bytes((0x80 | opcode, 127)) + _U64.pack(size)


def header_size(wire: bytes) -> int:
    """Of a whole server frame."""
    return {126: 4, 127: 10}.get(wire[1], 2)


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame. Raises ValueError if `reason` has more than 123 bytes in UTF-8 (section 5.5)."""
    payload = _U16.pack(code) + reason.encode()
    if len(payload) > _MAX_CONTROL:
        raise ValueError(f"a close reason has at most {MAX_CLOSE_REASON} bytes: {reason!r}")
    return frame(Opcode.CLOSE, payload)


def parse_close(payload: bytes) -> tuple[int, str]:
    """The code and reason of a close frame; 1005 if it has no code (section 7.1.5). Raises Violation."""
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise Violation(1002, "half a close code")
    (code,) = _U16.unpack_from(payload)
    # Section 7.4, and the codes that were registered later: 1012 to 1014.
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise Violation(1002, "unknown close code")
    return code, decode_text(payload[2:])


def decode_text(payload: bytes) -> str:
    """The text of a whole message or close reason. Raises Violation if it is not UTF-8 (section 8.1)."""
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise Violation(1007, "invalid utf-8") from error


class FrameReader:
    """Turns what a client sends into frames, and fragments into whole messages.

    After each `feed` it holds at most `max_size` bytes of a message, one header and one control frame, however the
    bytes were cut into pieces.
    """

    __slots__ = ("_fragmented", "_fragments", "_max_fragments", "_max_size", "_room", "pending")

    def __init__(self, max_size: int, max_fragments: int) -> None:
        self._max_size = max_size
        self._max_fragments = max_fragments
        self._room = max_fragments
        self.pending = b""
        """Bytes that do not make a whole frame yet."""
        self._fragmented: Opcode | None = None
        self._fragments = b""

    def hold(self, data: bytes) -> None:
        """Keep `data` for the next `feed`."""
        self.pending += data

    def feed(self, data: bytes) -> Iterator[tuple[Opcode, bytes]]:
        """Yield what `data` completes, in order: TEXT and BINARY with whole messages, control frames as they come,
        and CONTINUATION without a payload for a fragment that completes no message, so that the caller can count it.

        Raises Violation: 1002 for a frame that RFC 6455 forbids, 1009 for a message over the limit, 1008 for one in
        too many fragments.
        """
        data = self.pending + data if self.pending else data
        self.pending = b""
        offset = 0
        while len(data) - offset >= 2:
            first, second = data[offset], data[offset + 1]
            opcode = _OPCODES.get(first & 0x0F)
            size = second & 0x7F
            if opcode is None or first & 0x70:
                raise Violation(1002, "unknown frame type")
            if not second & 0x80:
                raise Violation(1002, "unmasked frame")
            if first & _CONTROL and (size > _MAX_CONTROL or not first & 0x80):
                raise Violation(1002, "long or fragmented control frame")
            header = offset + (2 if size < 126 else 4 if size == 126 else 10)
            if size >= 126:
                if len(data) < header:
                    break
                (size,) = (_U16 if size == 126 else _U64).unpack_from(data, offset + 2)
            if not first & _CONTROL and len(self._fragments) + size > self._max_size:
                raise Violation(1009, "too big")
            start = header + 4
            if len(data) < start + size:
                break
            payload = _unmask(data[start : start + size], data[header:start])
            offset = start + size
            if first & _CONTROL:
                yield opcode, payload
            else:
                yield self._assemble(opcode, payload, final=bool(first & 0x80))
        self.pending = data[offset:]

    def _assemble(self, opcode: Opcode, payload: bytes, *, final: bool) -> tuple[Opcode, bytes]:
        if (opcode is Opcode.CONTINUATION) != (self._fragmented is not None):
            raise Violation(1002, "fragments out of order")
        if final and self._fragmented is None:
            return opcode, payload
        self._room -= 1
        if self._room < 0:
            raise Violation(1008, "policy")
        self._fragments += payload
        self._fragmented = self._fragmented or opcode
        if not final:
            return Opcode.CONTINUATION, b""
        message = self._fragmented, self._fragments
        self._fragmented, self._fragments, self._room = None, b"", self._max_fragments
        return message


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    mask *= size // 4 + 1
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask[:size], "little")).to_bytes(size, "little")
