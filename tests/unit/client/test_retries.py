import itertools

from wg_orchestrator.client.delays import MAX_RETRY_DELAY, retry_delays


def test_each_retry_delay_is_random_below_a_bound_that_doubles_up_to_a_maximum() -> None:
    delays = list(itertools.islice(retry_delays(), 200))
    assert all(0 <= delay <= min(2**attempt, MAX_RETRY_DELAY) for attempt, delay in enumerate(delays))
    assert len(set(delays)) == len(delays)
