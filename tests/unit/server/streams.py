"""Bytes of a client, for fuzzing: valid frames, mutated ones, garbage; and ways to cut them up."""

from hypothesis import strategies as st

_SIZES = st.sampled_from([0, 1, 2, 124, 125, 126, 127, 300, 4095, 4096, 4097, 65535, 65536])
_OPCODES = st.sampled_from([0x0, 0x1, 0x2, 0x8, 0x9, 0xA])
_PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(str.encode),
    st.integers(0, 5100).map(lambda code: code.to_bytes(2, "big")),
    _SIZES.map(lambda size: b"x" * size),
)


def encoded(first: int, payload: bytes, mask: bytes, *, masked: bool = True, announced: int | None = None) -> bytes:
    """A client's frame. If `announced` is given, the header says that length instead of the true one."""
    length = len(payload) if announced is None else announced
    if length < 126:
        size = bytes((0x80 * masked | length,))
    elif length < 65536:
        size = bytes((0x80 * masked | 126,)) + length.to_bytes(2, "big")
    else:
        size = bytes((0x80 * masked | 127,)) + length.to_bytes(8, "big")
    if not masked:
        return bytes((first,)) + size + payload
    return bytes((first,)) + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


_MASKS = st.binary(min_size=4, max_size=4)
VALID = st.builds(lambda opcode, payload, mask: encoded(0x80 | opcode, payload, mask), _OPCODES, _PAYLOADS, _MASKS)
"""Whole frames. Some may still be forbidden where they stand in a stream."""

_ODD = st.builds(
    lambda first, payload, mask, masked, announced: encoded(first, payload, mask, masked=masked, announced=announced),
    st.integers(0, 255),
    _PAYLOADS,
    _MASKS,
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 2**64 - 1)),
)
_FRAGMENTS = st.builds(
    lambda opcode, payload, mask: encoded(opcode, payload, mask), st.sampled_from([0x0, 0x1, 0x2]), _PAYLOADS, _MASKS
)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    frame = bytearray(draw(VALID))
    for _ in range(draw(st.integers(1, 3))):
        frame[draw(st.integers(0, min(len(frame) - 1, 20)))] ^= 1 << draw(st.integers(0, 7))
    return bytes(frame)


_CHUNKS = st.one_of(st.binary(max_size=20), st.binary(min_size=100, max_size=200))


@st.composite
def _messages(draw: st.DrawFn) -> bytes:
    """A message in fragments, with control frames between them."""
    chunks = draw(st.lists(_CHUNKS, min_size=2, max_size=5))
    frames = []
    for position, chunk in enumerate(chunks):
        final = position == len(chunks) - 1
        frames.append(encoded(0x80 * final | (0x0 if position else 0x1), chunk, b"mask"))
        if not final and draw(st.booleans()):
            frames.append(encoded(0x89, b"ping", b"mask"))
    return b"".join(frames)


_TEXT, _PING = encoded(0x81, b"text", b"mask"), encoded(0x89, b"ping", b"mask")
_ENDS = st.sampled_from([encoded(0x82, b"", b"mask"), encoded(0x88, b"\x03\xe8", b"mask"), encoded(0x83, b"", b"mask")])
_SESSIONS = st.builds(lambda end, after: _TEXT + _PING + end + after, _ENDS, st.sampled_from([_PING, _TEXT, b"", b"x"]))
"""A join, a ping, an end, and what comes after it."""

STREAMS = st.one_of(
    st.lists(
        st.one_of(VALID, VALID, _FRAGMENTS, _messages(), _mutated(), _ODD, st.binary(max_size=30)), max_size=8
    ).map(b"".join),
    _SESSIONS,
)
"""All that a client may send."""


@st.composite
def pieces(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """`stream`, cut into pieces as it might arrive."""
    if len(stream) <= 200 and draw(st.booleans()):
        return [stream[at : at + 1] for at in range(len(stream))]
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
