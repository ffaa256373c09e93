import sys
import unicodedata

import pytest

from wg_orchestrator.client.terminal import visible


@pytest.mark.parametrize("text", ["laptop", "Büro 3", "🦊", "a\u00a0b\u3000c", "электричка", "e\u0301", r"a\x1b"])
def test_printable_text_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31m", r"\x1b[31m"), ("a\r\nb", r"a\r\nb"), ("\x9b", r"\x9b"), ("\u202e", r"\u202e"), ("\ud800", r"\ud800")],
)
def test_a_character_that_would_control_the_terminal_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_every_character_of_unicode_is_shown_by_printable_characters_and_spaces() -> None:
    text = visible("".join(map(chr, range(sys.maxunicode + 1))))
    assert {unicodedata.category(char) for char in text}.isdisjoint({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
