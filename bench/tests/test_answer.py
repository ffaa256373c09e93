import pytest

from bench.hostile.flooder import answer

_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
_PONG = b"\x8a\x02hi"
_POLICY = b"\x88\x08\x03\xf0policy"


@pytest.mark.parametrize(
    ("heard", "what"),
    [
        (b"", ""),
        (b"HTTP/1.1 431 Request Hea", ""),
        (b"HTTP/1.1 431 Request Header Fields Too Large\r\n\r\n", "431"),
        (_SWITCHED, ""),
        (_SWITCHED + _PONG, ""),
        (_SWITCHED + _PONG + _POLICY, "1008"),
        (_SWITCHED + _PONG + _POLICY[:5], ""),
    ],
)
def test_how_a_connection_was_ended_is_in_what_it_heard(heard: bytes, what: str) -> None:
    assert answer(heard) == what
