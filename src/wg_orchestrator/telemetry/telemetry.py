"""How a part of the service says what happens in it: as log lines for people and as metrics for Prometheus."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

WINDOW = 10.0
"""Seconds over which the rate of log lines is averaged, and after which a flood is summed up."""


@dataclass(slots=True)
class _Window:
    ends: float
    lines: int = 0


class Telemetry:
    """Log lines, as long as there are not too many of a kind, and metrics. What they say is up to each part.

    Beyond `max_log_rate` lines a second of one kind (an event and its reason), averaged over a window, those of a
    window are summed up in one line when it is over. What a client has sent stands in a line as a quoted value only.
    docs/operations.md lists the lines and the metrics.
    """

    def __init__(self, max_log_rate: float, window: float = WINDOW) -> None:
        """`window` in seconds."""
        self._window = window
        self._max_lines = max(1, round(max_log_rate * window))
        self._windows: dict[tuple[str, str], _Window] = {}
        self._logger = structlog.get_logger("wg_orchestrator")
        self._counters: dict[str, Counter] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # Memory, open files, CPU.

    def info(self, event: str, reason: str = "", **fields: object) -> None:
        if self._has_line(event, reason):
            self._logger.info(event, **_given(reason), **fields)

    def warning(self, event: str, reason: str = "", **fields: object) -> None:
        if self._has_line(event, reason):
            self._logger.warning(event, **_given(reason), **fields)

    def failed(self, what: str, **fields: object) -> None:
        """An exception that is being handled is a fault of ours."""
        if self._has_line("failed", what):
            self._logger.exception(what, **fields)

    def counter(self, name: str, what: str, *labels: str) -> Counter:
        """Parts that count the same thing have the same counter."""
        if name not in self._counters:
            self._counters[name] = Counter(name, what, labels, "wg_orchestrator", registry=self.registry)
        return self._counters[name]

    def gauge(self, name: str, what: str, value: Callable[[], float] | None = None) -> Gauge:
        """With `value`, that is asked for whenever the metrics are."""
        gauge = Gauge(name, what, namespace="wg_orchestrator", registry=self.registry)
        if value is not None:
            gauge.set_function(value)
        return gauge

    def histogram(self, name: str, what: str, *buckets: float) -> Histogram:
        return Histogram(name, what, namespace="wg_orchestrator", registry=self.registry, buckets=buckets)

    def sum_up(self) -> None:
        """Log what a flood left unsaid in the windows that are over. To be called about once a second."""
        now = time.monotonic()
        for kind in [kind for kind, window in self._windows.items() if window.ends <= now]:
            self._close(kind)

    def _has_line(self, event: str, reason: str) -> bool:
        kind, now = (event, reason), time.monotonic()
        window = self._windows.get(kind)
        if window is None or window.ends <= now:
            self._close(kind)
            window = self._windows[kind] = _Window(now + self._window)
        window.lines += 1
        return window.lines <= self._max_lines

    def _close(self, kind: tuple[str, str]) -> None:
        window = self._windows.pop(kind, None)
        if window is not None and window.lines > self._max_lines:
            event, reason = kind
            untold = window.lines - self._max_lines
            self._logger.warning(f"{event}, many more", **_given(reason), not_logged=untold, seconds=self._window)


def _given(reason: str) -> dict[str, str]:
    return {"reason": reason} if reason else {}
