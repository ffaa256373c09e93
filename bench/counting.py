"""Counts frames without parsing them.

Every notice is ASCII. The first byte of a text frame is 0x81, of a close frame 0x88, of a ping 0x89. In a stream of
notices none of the three occurs elsewhere. A notice of v1 has less than 126 bytes, so its length is one byte below
0x80. The same is true of a leave in v2. A join in v2 has 170 to 220 bytes, so the bytes of its length are 126, 0 and
170 to 220. So the number of 0x81 bytes is the number of notices, wherever the stream is cut into pieces, and
`bytes.count` counts gigabytes a second. Control frames are rare (a ping every few seconds), and their payload may have
any byte, so they are cut out first.
"""

NOTICE = b"\x81"
CLOSE = b"\x88"
PING = b"\x89"
COMMA = b","
"""The commas in a notice say whether it is of a join or of a leave: see `Dialect.commas`."""


def cut_out_controls(data: bytes) -> tuple[bytes, list[tuple[int, bytes]], bytes]:
    """Split `data` into its text frames, its control frames (opcode, payload), and the incomplete control frame at its
    end, which the next data will complete. `data` may start in the middle of a text frame, but not of a control frame.
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
