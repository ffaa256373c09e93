import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from tests.builders import ACME, a_peer
from wg_orchestrator import telemetry as module
from wg_orchestrator.telemetry.telemetry import WINDOW, Telemetry


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    structlog.reset_defaults()
    monkeypatch.setattr(module, "logger", structlog.get_logger())
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Any:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"wg_orchestrator_{name}", labels)


def test_a_join_a_leave_and_a_refusal_are_one_line_each(lines: list[Any]) -> None:
    telemetry = Telemetry(100)
    telemetry.joined(ACME, a_peer(1), "192.0.2.1", 7, 0.001)
    telemetry.left(ACME, a_peer(1), "192.0.2.1", 6, "ping timeout")
    telemetry.refused("bad public key", "192.0.2.1", ACME)
    telemetry.refused("request timeout", "192.0.2.1")
    who = {"tenant": "acme", "source": "192.0.2.1"}
    peer = {"virtual_ip": "100.64.0.1", "name": "peer-1"}
    assert lines == [
        {"event": "joined", "log_level": "info", **who, **peer, "peers": 7},
        {"event": "left", "log_level": "info", **who, **peer, "peers": 6, "reason": "ping timeout"},
        {"event": "refused", "log_level": "info", **who, "reason": "bad public key"},
        {"event": "refused", "log_level": "info", "source": "192.0.2.1", "reason": "request timeout"},
    ]


def test_a_flood_is_summed_up_and_each_kind_by_itself(lines: list[Any], pass_time: Any) -> None:
    telemetry = Telemetry(0.5)
    for _ in range(12):
        telemetry.refused("policy", "192.0.2.1")
    telemetry.refused("too big", "192.0.2.1")
    assert [line["reason"] for line in lines] == ["policy"] * 5 + ["too big"]
    telemetry.sum_up()
    assert len(lines) == 6
    pass_time(WINDOW)
    telemetry.sum_up()
    assert lines[6:] == [
        {"event": "refused, many more", "log_level": "warning", "reason": "policy", "not_logged": 7, "seconds": WINDOW}
    ]
    telemetry.refused("policy", "192.0.2.1")
    assert lines[7]["event"] == "refused"
    assert value(telemetry, "refusals_total", reason="policy") == 13


def test_a_flood_is_summed_up_when_it_goes_on_too(lines: list[Any], pass_time: Any) -> None:
    telemetry = Telemetry(0.1)
    for _ in range(3):
        telemetry.refused("policy", "192.0.2.1")
    pass_time(WINDOW)
    telemetry.refused("policy", "192.0.2.1")
    assert [line["event"] for line in lines] == ["refused", "refused, many more", "refused"]


def test_a_fault_is_logged_with_its_traceback_and_not_for_ever(lines: list[Any]) -> None:
    telemetry = Telemetry(0.1)
    for _ in range(3):
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            telemetry.failed("join failed", ACME)
    assert [(line["event"], line["exc_info"]) for line in lines] == [("join failed", True)]


def test_the_metrics_count_what_happens() -> None:
    telemetry = Telemetry(100)
    for number in (1, 2):
        telemetry.joined(ACME, a_peer(number), "192.0.2.1", number, 0.002)
    telemetry.left(ACME, a_peer(1), "192.0.2.1", 1, "too slow")
    telemetry.welcomed(1000)
    telemetry.flushed(notices=30, size=3000, seconds=0.002)
    telemetry.outbox(5000)
    telemetry.lagged(0.02)
    telemetry.gauge("tenants", "Tenants", lambda: 7)
    assert value(telemetry, "peers") == 1
    assert value(telemetry, "joins_total") == 2
    assert value(telemetry, "leaves_total", reason="too slow") == 1
    assert value(telemetry, "notices_sent_total") == 30
    assert value(telemetry, "bytes_sent_total") == 4000
    assert value(telemetry, "join_seconds_bucket", le="0.001") == 0
    assert value(telemetry, "join_seconds_bucket", le="0.005") == 2
    assert value(telemetry, "flush_seconds_sum") == 0.002
    assert value(telemetry, "outbox_bytes_bucket", le="16384.0") == 1
    assert value(telemetry, "event_loop_lag_seconds_count") == 1
    assert value(telemetry, "tenants") == 7
    assert b"process_open_fds" in generate_latest(telemetry.registry)


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Telemetry(100), Telemetry(100)
    one.refused("policy", "192.0.2.1")
    assert value(one, "refusals_total", reason="policy") == 1
    assert value(other, "refusals_total", reason="policy") is None
