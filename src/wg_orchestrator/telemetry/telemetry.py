"""How a part of the service says what happens in it: as log lines for people and as metrics for Prometheus."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

WINDOW = 10.0
"""Seconds over which the rate of log lines is averaged, and after which a flood is summed up."""


@dataclass(slots=True)
class _Window:
    ends: float
    lines: int = 0


class Telemetry:
    """Writes log lines and keeps metrics. Each part of the service says what is in them.

    Lines of one kind (an event and its reason) are limited to `max_log_rate` a second, averaged over a window. The
    others are summed up in one line when the window is over. What a client has sent is in a line only as a quoted
    value. docs/operations.md lists the lines and the metrics.
    """

    def __init__(self, max_log_rate: float, window: float = WINDOW) -> None:
        """`window` in seconds."""
        self._window = window
        self._max_lines = max(1, round(max_log_rate * window))
        self._windows: dict[tuple[str, str], _Window] = {}
        self._logger = structlog.get_logger("wg_orchestrator")
        self._counters: dict[str, Counter] = {}
        self._followers: list[Callable[[str, str, Mapping[str, object]], None]] = []
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # Memory, open files, CPU.

    def info(
        self, event: str, reason: str = "", more: Callable[[], Mapping[str, object]] | None = None, **fields: object
    ) -> None:
        """`more` is called for further fields, if there is a line."""
        if self._has_line(event, reason):
            given = {**fields, **(more() if more is not None else {})}
            self._logger.info(event, **_given(reason), **given)
            for follower in self._followers:
                follower(event, reason, given)

    def warning(self, event: str, reason: str = "", **fields: object) -> None:
        if self._has_line(event, reason):
            self._logger.warning(event, **_given(reason), **fields)

    def failed(self, what: str, **fields: object) -> None:
        """Log the exception that is being handled: it is a fault of ours."""
        if self._has_line("failed", what):
            self._logger.exception(what, **fields)

    def follow(self, follower: Callable[[str, str, Mapping[str, object]], None]) -> None:
        """Call it with each event that `info` logs, its reason and its fields; and with those that were left out, in
        one, whose reason says how many there were.
        """
        self._followers.append(follower)

    def counter(self, name: str, what: str, *labels: str) -> Counter:
        """The counter of that name. Parts that ask for the same name share it."""
        if name not in self._counters:
            self._counters[name] = Counter(name, what, labels, "wg_orchestrator", registry=self.registry)
        return self._counters[name]

    def gauge(self, name: str, what: str, value: Callable[[], float] | None = None) -> Gauge:
        """A gauge. With `value`, it is read by a call each time that the metrics are read."""
        gauge = Gauge(name, what, namespace="wg_orchestrator", registry=self.registry)
        if value is not None:
            gauge.set_function(value)
        return gauge

    def counts(self, name: str, what: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
        """A counter with a label, whose values are read by a call each time that the metrics are read."""
        self.registry.register(_Counts(f"wg_orchestrator_{name}", what, label, read))

    def histogram(self, name: str, what: str, *buckets: float) -> Histogram:
        return Histogram(name, what, namespace="wg_orchestrator", registry=self.registry, buckets=buckets)

    def sum_up(self) -> None:
        """For each window that is over, log how many lines were left out. To be called about once a second."""
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
            for follower in self._followers:
                follower(event, f"{reason}, {untold} more", {})


class _Counts(Collector):
    def __init__(self, name: str, what: str, label: str, read: Callable[[], Mapping[str, int]]) -> None:
        self._name, self._what, self._label, self._read = name, what, label, read

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._what, labels=[self._label])
        for value, count in sorted(self._read().items()):
            family.add_metric([value], count)
        yield family


def _given(reason: str) -> dict[str, str]:
    return {"reason": reason} if reason else {}
