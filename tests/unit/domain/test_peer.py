import base64

import pytest

from harness.keys import a_key_text
from wg_orchestrator.domain.errors import InvalidDisplayName, InvalidPublicKey
from wg_orchestrator.domain.peer import PublicKey, parse_display_name

FIELD_PRIME = 2**255 - 19


def spelled(point: int) -> str:
    return base64.b64encode(point.to_bytes(32, "little")).decode()


@pytest.mark.parametrize("name", ["a", "x" * 128, "Büro 3", "электричка", "🦊", " ", "e\u0301" * 128])
def test_a_name_of_1_to_128_visible_characters_is_a_display_name(name: str) -> None:
    assert 1 <= len(parse_display_name(name)) <= 128


def test_a_display_name_is_normalized() -> None:
    assert parse_display_name("Bu\u0308ro") == "B\u00fcro"


@pytest.mark.parametrize(
    "name",
    [
        "", "x" * 129, "a\nb", "a\x00", "a\x1b[31m", "a\u2028b", "a\u2029b", "a\u202eb", "a\u200bb", "\ufeffa",
        "a\ud800b", "\x7f", "a\u0085b",
    ],
)  # fmt: skip
def test_a_name_that_is_empty_long_or_not_all_visible_is_refused(name: str) -> None:
    with pytest.raises(InvalidDisplayName):
        parse_display_name(name)


def test_a_key_in_wgs_text_form_is_a_public_key() -> None:
    text = a_key_text(1)
    assert PublicKey.parse(text).text == text == str(PublicKey.parse(text))


@pytest.mark.parametrize("point", [2, 9, FIELD_PRIME - 2])
def test_a_reduced_point_is_a_public_key(point: int) -> None:
    PublicKey.parse(spelled(point))


@pytest.mark.parametrize(
    "point",
    [
        0,
        1,
        FIELD_PRIME - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    ],
)
def test_a_low_order_point_is_refused(point: int) -> None:
    with pytest.raises(InvalidPublicKey):
        PublicKey.parse(spelled(point))


@pytest.mark.parametrize("point", [FIELD_PRIME, FIELD_PRIME + 1, FIELD_PRIME + 9, 2**255, 2**255 + 9, 2**256 - 1])
def test_a_second_spelling_of_a_point_is_refused(point: int) -> None:
    with pytest.raises(InvalidPublicKey):
        PublicKey.parse(spelled(point))


@pytest.mark.parametrize(
    "text",
    [
        "", "AAAA", a_key_text(1)[:-1], a_key_text(1) + "=", " " + a_key_text(1), a_key_text(1) + "\n",
        a_key_text(1)[:-2] + "B=" , a_key_text(1).replace("=", "A"), "é" * 44, "\ud800" * 44, "-" * 43 + "=",
        base64.b64encode(b"x" * 31).decode(), base64.b64encode(b"x" * 33).decode(),
    ],
)  # fmt: skip
def test_anything_but_canonical_base64_of_32_bytes_is_refused(text: str) -> None:
    with pytest.raises(InvalidPublicKey):
        PublicKey.parse(text)
