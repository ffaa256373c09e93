from wg_orchestrator.adapters.websocket.limits import RATE_WINDOW, RateBudget


def test_a_burst_up_to_the_average_is_allowed_and_no_more() -> None:
    budget = RateBudget(rate=2)
    assert [budget.spend(1.0) for _ in range(22)] == [True] * 20 + [False] * 2


def test_the_next_window_starts_anew() -> None:
    budget = RateBudget(rate=0.1)
    assert [budget.spend(now) for now in (0.0, 1.0, RATE_WINDOW, RATE_WINDOW + 1)] == [True, False, True, False]
