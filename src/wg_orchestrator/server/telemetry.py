from collections.abc import Callable

from wg_orchestrator.adapters.websocket.telemetry import Refusals
from wg_orchestrator.telemetry.telemetry import Telemetry


class ServerTelemetry(Refusals):
    """Metrics of the process and of all its connections, and its refusals."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(telemetry)
        self._outbox_bytes = telemetry.histogram(
            "outbox_bytes", "What waits for a peer in the process, sampled at each ping", 0, 2**10, 2**14, 2**17, 2**20
        )
        self._lag_seconds = telemetry.histogram(
            "event_loop_lag_seconds", "How late the event loop is, ten times a second", 0.001, 0.01, 0.1, 0.5, 1, 5
        )

    def outbox(self, size: int) -> None:
        self._outbox_bytes.observe(size)

    def lagged(self, seconds: float) -> None:
        self._lag_seconds.observe(seconds)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Make a gauge. `value` is called each time the metrics are read."""
        self._telemetry.gauge(name, what, value)
