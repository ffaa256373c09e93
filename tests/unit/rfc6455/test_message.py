import pytest

from wg_orchestrator.rfc6455.frames import Opcode, frame
from wg_orchestrator.rfc6455.message import Text


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 65_534, 65_535, 65_536, 70_000])
def test_a_text_of_parts_is_the_frame_that_it_is_in_one_piece(size: int) -> None:
    text = b"x" * size
    for parts, separator in (
        ([text], b","), ([text[:1], text[1:]], b""), ([bytes([byte]) for byte in text] or [b""], b""),
    ):  # fmt: skip
        assert Text.of_parts(parts, separator).frame == frame(Opcode.TEXT, text)
    assert Text(text).payload == text


def test_a_text_of_parts_has_the_separator_between_each_two() -> None:
    text = Text.of_parts([b"a", b"", b"bc"], b", ")
    assert text.payload == b"a, , bc"
    assert text.frame == Text(b"a, , bc").frame
