"""What the end of a connection means to a client."""

import email.utils
import time

import pytest

from wg_orchestrator.client.connecting import _LONGEST_WAIT, _wait, is_final


@pytest.mark.parametrize(
    ("code", "final"),
    [
        (1000, False), (1001, False), (1003, True), (1005, False), (1006, False), (1007, True), (1008, True),
        (1009, True), (1011, False), (1012, False), (1013, False), (4001, False), (4002, False), (4003, False),
        (4004, False), (4005, False), (4006, False), (4499, False), (4501, True), (4504, True), (4505, True),
        (4506, True), (4507, True), (4508, True), (4509, False), (4999, True),
    ],
)  # fmt: skip
def test_after_some_codes_a_client_may_not_come_back_by_itself(code: int, final: bool) -> None:
    assert is_final(code) == final


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0), ("0", 0), ("7", 7), (" 7 ", 7), ("-5", 0), ("999999", _LONGEST_WAIT), ("nan", 0), ("inf", 0),
        ("soon", 0), ("", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 99 Oct 2015", 0),
    ],
)  # fmt: skip
def test_a_service_may_ask_to_be_left_alone_for_a_bounded_time(header: str | None, seconds: float) -> None:
    assert _wait(header) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert 50 < _wait(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 60
