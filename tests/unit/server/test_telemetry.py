from wg_orchestrator.server.telemetry import ServerTelemetry
from wg_orchestrator.telemetry.telemetry import Telemetry


def test_the_metrics_count_what_happens_to_connections() -> None:
    telemetry = Telemetry(100)
    server = ServerTelemetry(telemetry)
    server.outbox(5000)
    server.lagged(0.02)
    server.watch("connections", "Connections", lambda: 7)
    values = telemetry.registry.get_sample_value
    assert values("wg_orchestrator_outbox_bytes_bucket", {"le": "16384.0"}) == 1
    assert values("wg_orchestrator_event_loop_lag_seconds_count") == 1
    assert values("wg_orchestrator_connections") == 7
