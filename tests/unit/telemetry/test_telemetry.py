import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from wg_orchestrator.telemetry.telemetry import WINDOW, Telemetry


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Any:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"wg_orchestrator_{name}", labels)


def test_a_line_has_its_event_its_reason_and_what_else_there_is_to_say(lines: list[Any]) -> None:
    telemetry = Telemetry(100)
    telemetry.info("joined", tenant="acme")
    telemetry.warning("unreadable", "no epoch", subject="x")
    assert lines == [
        {"event": "joined", "log_level": "info", "tenant": "acme"},
        {"event": "unreadable", "log_level": "warning", "reason": "no epoch", "subject": "x"},
    ]


def test_a_flood_is_summed_up_and_each_kind_by_itself(lines: list[Any], pass_time: Any) -> None:
    telemetry = Telemetry(0.5)
    for _ in range(12):
        telemetry.info("refused", "policy")
    telemetry.info("refused", "too big")
    assert [line["reason"] for line in lines] == ["policy"] * 5 + ["too big"]
    telemetry.sum_up()
    assert len(lines) == 6
    pass_time(WINDOW)
    telemetry.sum_up()
    assert lines[6:] == [
        {"event": "refused, many more", "log_level": "warning", "reason": "policy", "not_logged": 7, "seconds": WINDOW}
    ]
    telemetry.info("refused", "policy")
    assert lines[7]["event"] == "refused"


def test_a_flood_is_summed_up_when_it_goes_on_too(lines: list[Any], pass_time: Any) -> None:
    telemetry = Telemetry(0.1)
    for _ in range(3):
        telemetry.info("refused", "policy")
    pass_time(WINDOW)
    telemetry.info("refused", "policy")
    assert [line["event"] for line in lines] == ["refused", "refused, many more", "refused"]


def test_who_follows_hears_what_is_logged_and_how_much_was_left_out(lines: list[Any], pass_time: Any) -> None:
    telemetry, heard = Telemetry(0.1), list[Any]()
    telemetry.follow(lambda event, reason, fields: heard.append((event, reason, dict(fields))))
    for _ in range(4):
        telemetry.info("refused", "policy", lambda: {"tenant": "acme"}, source="192.0.2.1")
    pass_time(WINDOW)
    telemetry.sum_up()
    fields = {"source": "192.0.2.1", "tenant": "acme"}
    assert heard == [("refused", "policy", fields), ("refused", "policy, 3 more", {})]
    assert len(lines) == 2


def test_a_fault_is_logged_with_its_traceback_and_not_for_ever(lines: list[Any]) -> None:
    telemetry = Telemetry(0.1)
    for _ in range(3):
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            telemetry.failed("join failed", tenant="acme")
    assert [(line["event"], line["exc_info"]) for line in lines] == [("join failed", True)]


def test_the_registry_has_what_the_parts_count_and_the_process() -> None:
    telemetry = Telemetry(100)
    telemetry.counter("leaves", "Leaves", "reason").labels("too slow").inc()
    telemetry.gauge("peers", "Peers").inc()
    telemetry.gauge("tenants", "Tenants", lambda: 7)
    telemetry.histogram("join_seconds", "Joins", 0.001, 0.005).observe(0.002)
    assert value(telemetry, "leaves_total", reason="too slow") == 1
    assert value(telemetry, "peers") == 1
    assert value(telemetry, "tenants") == 7
    assert value(telemetry, "join_seconds_bucket", le="0.001") == 0
    assert value(telemetry, "join_seconds_bucket", le="0.005") == 1
    assert b"process_open_fds" in generate_latest(telemetry.registry)


def test_parts_that_count_the_same_thing_count_together() -> None:
    telemetry = Telemetry(100)
    for _ in range(2):
        telemetry.counter("refusals", "Refusals", "reason").labels("policy").inc()
    assert value(telemetry, "refusals_total", reason="policy") == 2


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Telemetry(100), Telemetry(100)
    one.counter("refusals", "Refusals", "reason").labels("policy").inc()
    assert value(one, "refusals_total", reason="policy") == 1
    assert value(other, "refusals_total", reason="policy") is None
