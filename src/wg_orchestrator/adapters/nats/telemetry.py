from wg_orchestrator.telemetry.telemetry import Telemetry

MAX_UNREADABLE_SEEN = 10_000
"""How many messages are remembered as logged."""


class StoreTelemetry:
    """Logs and counts what happens to the store that the nodes share."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._unreadable = telemetry.counter(
            "unreadable_messages", "Messages in the store that are none of ours, passed over"
        )
        self._seen: dict[tuple[str, int], None] = {}

    def unreadable(self, subject: str, sequence: int, why: str) -> None:
        """A message in the store can't be read. It stays there until somebody replaces it, and is logged once."""
        if (subject, sequence) in self._seen:
            return
        self._seen[subject, sequence] = None
        if len(self._seen) > MAX_UNREADABLE_SEEN:
            del self._seen[next(iter(self._seen))]
        self._unreadable.inc()
        self._telemetry.warning("unreadable message", subject=subject[:200], sequence=sequence, why=why)
