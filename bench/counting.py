"""Counting frames without walking through them.

Every notice is ASCII. In v1 it has less than 126 bytes, so in a stream of notices a byte of 0x80 or more is the first
byte of a frame: 0x81 that of a text frame, 0x88 of a close, 0x89 of a ping. In v2 that of a leave has less than 126
bytes, too, and that of a join 170 to 220: so none of the three is in its length either. Counting one byte is what
`bytes.count` does at gigabytes a second, wherever the stream happens to be cut. Control frames are rare (a ping every
few seconds) and their payload may hold any byte, so they are cut out first, where there are any.
"""

NOTICE = b"\x81"
CLOSE = b"\x88"
PING = b"\x89"
COMMA = b","
"""Those in a notice say whether it is of a join or of a leave: see `Dialect.commas`."""


def cut_out_controls(data: bytes) -> tuple[bytes, list[tuple[int, bytes]], bytes]:
    """Split `data` into its text frames, its control frames (opcode, payload), and the part of a control frame
    at its end that the next data will complete. `data` may start amid a text frame, but not amid a control frame.
    """
    texts: list[bytes] = []
    controls: list[tuple[int, bytes]] = []
    start = 0
    while (at := min(_find(data, CLOSE, start), _find(data, PING, start))) < len(data):
        texts.append(data[start:at])
        if len(data) < at + 2 or len(data) < at + 2 + data[at + 1]:
            return b"".join(texts), controls, data[at:]
        start = at + 2 + data[at + 1]
        controls.append((data[at] & 0x0F, data[at + 2 : start]))
    texts.append(data[start:])
    return b"".join(texts), controls, b""


def _find(data: bytes, byte: bytes, start: int) -> int:
    at = data.find(byte, start)
    return len(data) if at < 0 else at
