import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode

from wg_orchestrator.rfc6455.frames import (
    FrameReader,
    Opcode,
    Violation,
    close_frame,
    decode_text,
    frame,
    parse_close,
)


def client_frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(TheirOpcode(opcode), payload, fin).serialize(mask=True)


def read(data: bytes, max_size: int = 4096, max_fragments: int = 16) -> list[tuple[Opcode, bytes]]:
    return list(FrameReader(max_size, max_fragments).feed(data))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("8185 37fa213d 7f9f4d5158", (Opcode.TEXT, b"Hello")),  # RFC 6455, section 5.7
        ("8985 37fa213d 7f9f4d5158", (Opcode.PING, b"Hello")),
        ("8180 00000000", (Opcode.TEXT, b"")),
    ],
)
def test_the_examples_of_the_rfc_are_read(data: str, expected: tuple[Opcode, bytes]) -> None:
    assert read(bytes.fromhex(data)) == [expected]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_frames_of_every_length_encoding_are_written_and_read(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert read(client_frame(Opcode.BINARY, payload), 100_000) == [(Opcode.BINARY, payload)]
    assert _read_by_client(frame(Opcode.BINARY, payload)) == [(Opcode.BINARY, payload)]


def _read_by_client(data: bytes) -> list[tuple[int, bytes]]:
    parser: Any = Frame.parse(_exact_reader(data), mask=False)
    try:
        next(parser)
    except StopIteration as done:
        return [(done.value.opcode, bytes(done.value.data))]
    raise AssertionError("the frame is not whole")


def _exact_reader(data: bytes) -> Any:
    position = 0

    def read_exact(size: int) -> Any:
        nonlocal position
        position += size
        return data[position - size : position]
        yield

    return read_exact


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_messages_are_the_same_however_the_bytes_are_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(client_frame(Opcode.TEXT, payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader(4096, 16)
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [read for piece in pieces for read in reader.feed(piece)] == [(Opcode.TEXT, body) for body in payloads]


def test_fragments_become_one_message_and_control_frames_come_between() -> None:
    data = (
        client_frame(Opcode.TEXT, b"Hel", fin=False)
        + client_frame(Opcode.PING, b"now")
        + client_frame(Opcode.CONTINUATION, b"l", fin=False)
        + client_frame(Opcode.CONTINUATION, b"o")
    )
    assert read(data) == [
        (Opcode.CONTINUATION, b""),
        (Opcode.PING, b"now"),
        (Opcode.CONTINUATION, b""),
        (Opcode.TEXT, b"Hello"),
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(Opcode.TEXT, b"unmasked"), 1002),
        (b"\xc1\x80\x00\x00\x00\x00", 1002),  # reserved bit
        (b"\x83\x80\x00\x00\x00\x00", 1002),  # reserved opcode
        (b"\x8b\x80\x00\x00\x00\x00", 1002),  # reserved control opcode
        (b"\x09\x80\x00\x00\x00\x00", 1002),  # fragmented ping
        (b"\x89\xfe\x00\x7e", 1002),  # ping of 126 bytes
        (client_frame(Opcode.CONTINUATION, b"x"), 1002),
        (client_frame(Opcode.TEXT, b"x", fin=False) + client_frame(Opcode.TEXT, b"y"), 1002),
        (client_frame(Opcode.TEXT, b"x" * 4097), 1009),
        (client_frame(Opcode.TEXT, b"x" * 4000, fin=False) + client_frame(Opcode.CONTINUATION, b"y" * 97), 1009),
        (b"\x82\xff" + b"\xff" * 8, 1009),  # announces 2^64 - 1 bytes
    ],
    ids=range(11),
)
def test_a_frame_that_must_not_be_is_a_violation(data: bytes, code: int) -> None:
    with pytest.raises(Violation) as violation:
        read(data)
    assert violation.value.code == code


def test_a_message_of_exactly_the_limit_is_read() -> None:
    assert read(client_frame(Opcode.TEXT, b"x" * 4096)) == [(Opcode.TEXT, b"x" * 4096)]


def test_frames_before_a_violation_are_read() -> None:
    reading = FrameReader(4096, 16).feed(client_frame(Opcode.TEXT, b"first") + b"\xff\xff")
    assert next(reading) == (Opcode.TEXT, b"first")
    with pytest.raises(Violation):
        next(reading)


@pytest.mark.parametrize(
    ("payload", "expected"), [(b"", (1005, "")), (b"\x03\xe8", (1000, "")), (b"\x0f\xa1caf\xc3\xa9", (4001, "café"))]
)
def test_close_frames_are_read(payload: bytes, expected: tuple[int, str]) -> None:
    assert parse_close(payload) == expected


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_close_code_that_must_not_be_sent_is_a_violation(code: int) -> None:
    with pytest.raises(Violation) as violation:
        parse_close(code.to_bytes(2, "big"))
    assert violation.value.code == 1002


def test_half_a_close_code_is_a_violation() -> None:
    with pytest.raises(Violation):
        parse_close(b"\x03")


@pytest.mark.parametrize("payload", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
def test_what_is_not_utf8_is_a_violation(payload: bytes) -> None:
    with pytest.raises(Violation) as violation:
        decode_text(payload)
    assert violation.value.code == 1007


def test_a_close_reason_over_123_bytes_is_refused() -> None:
    assert parse_close(close_frame(4001, "x" * 123)[2:]) == (4001, "x" * 123)
    with pytest.raises(ValueError, match="123"):
        close_frame(4001, "x" * 124)
