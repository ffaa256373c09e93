from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed
from tests.unit.server.streams import STREAMS, VALID, pieces
from wg_orchestrator.rfc6455.frames import FrameReader, Opcode, Violation

MAX_SIZE = 300
_LONGEST_HEADER = 14
_MAX_CONTROL = 125

Outcome = tuple[list[tuple[Opcode, bytes]], int | None]


def outcome(arriving: list[bytes]) -> Outcome:
    """All frames that a reader makes of these bytes, and the close code if they end in a violation."""
    reader, seen = FrameReader(MAX_SIZE, 16), list[tuple[Opcode, bytes]]()
    for piece in arriving:
        try:
            seen.extend(reader.feed(piece))
        except Violation as violation:
            return seen, violation.code
        assert len(reader._fragments) <= MAX_SIZE
        assert len(reader.pending) < _LONGEST_HEADER + max(MAX_SIZE, _MAX_CONTROL)
        assert len(reader.pending) + len(reader._fragments) < _LONGEST_HEADER + MAX_SIZE + _MAX_CONTROL
    return seen, None


@fuzzed(400)
@given(STREAMS, st.data())
def test_any_bytes_in_any_pieces_are_frames_or_a_violation(stream: bytes, data: st.DataObject) -> None:
    at_once = outcome([stream])
    assert at_once[1] in (None, 1002, 1009)
    assert outcome(data.draw(pieces(stream))) == at_once


@fuzzed(100)
@given(STREAMS)
def test_no_message_is_larger_than_the_limit_and_no_control_frame_than_125_bytes(stream: bytes) -> None:
    for opcode, payload in outcome([stream])[0]:
        assert len(payload) <= (MAX_SIZE if opcode < Opcode.CLOSE else _MAX_CONTROL)


@fuzzed(100)
@given(VALID, st.integers(1, 40))
def test_a_frame_is_not_read_before_its_last_byte(frame: bytes, missing: int) -> None:
    assert outcome([frame[:-missing]])[0] == []
