from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests.builders import ACME, a_peer, a_stay
from wg_orchestrator.adapters.websocket.telemetry import PeerTelemetry, Refusals
from wg_orchestrator.telemetry.telemetry import Telemetry


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines


def value(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"wg_orchestrator_{name}", labels)


def test_a_join_a_leave_and_a_refusal_are_one_line_each(lines: list[Any]) -> None:
    telemetry = PeerTelemetry(Telemetry(100))
    telemetry.joined(a_stay(a_peer(1)), "192.0.2.1", 7, 0.001)
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


def test_whatever_is_not_logged_any_more_is_still_counted(lines: list[Any]) -> None:
    telemetry = Telemetry(0.1)
    refusals = Refusals(telemetry)
    for _ in range(13):
        refusals.refused("policy", "192.0.2.1")
    assert len(lines) == 1
    assert value(telemetry, "refusals_total", reason="policy") == 13


def test_the_metrics_count_what_happens_to_peers() -> None:
    telemetry = Telemetry(100)
    peers = PeerTelemetry(telemetry)
    for number in (1, 2):
        peers.joined(a_stay(a_peer(number)), "192.0.2.1", number, 0.002)
    peers.left(ACME, a_peer(1), "192.0.2.1", 1, "too slow")
    peers.welcomed(1000)
    peers.flushed(notices=30, size=3000, seconds=0.002)
    assert value(telemetry, "peers") == 1
    assert value(telemetry, "joins_total") == 2
    assert value(telemetry, "leaves_total", reason="too slow") == 1
    assert value(telemetry, "notices_sent_total") == 30
    assert value(telemetry, "bytes_sent_total") == 4000
    assert value(telemetry, "join_seconds_bucket", le="0.001") == 0
    assert value(telemetry, "join_seconds_bucket", le="0.005") == 2
    assert value(telemetry, "flush_seconds_sum") == 0.002


def test_what_other_parts_refuse_is_counted_with_it() -> None:
    telemetry = Telemetry(100)
    PeerTelemetry(telemetry).refused("policy", "192.0.2.1")
    Refusals(telemetry).refused("policy", "192.0.2.1")
    assert value(telemetry, "refusals_total", reason="policy") == 2
