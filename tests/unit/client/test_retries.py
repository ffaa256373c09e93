import itertools

from wg_orchestrator.client.delays import MAX_RETRY_DELAY, retry_delays


def test_retries_come_later_and_later_within_a_bound() -> None:
    delays = list(itertools.islice(retry_delays(), 200))
    assert all(0 <= delay <= min(2**attempt, MAX_RETRY_DELAY) for attempt, delay in enumerate(delays))
    assert len(set(delays)) == len(delays)
