from wg_orchestrator.adapters.websocket.rates import RATE_WINDOW, RateBudget


def test_a_burst_up_to_the_average_is_allowed_and_no_more() -> None:
    budget = RateBudget(rate=2)
    assert [budget.spend(1.0) for _ in range(22)] == [True] * 20 + [False] * 2


def test_what_is_spent_comes_back_at_its_rate() -> None:
    budget = RateBudget(rate=2)
    for _ in range(20):
        budget.spend(1.0)
    assert [budget.spend(now) for now in (1.25, 1.5, 1.75, 2.0, 2.25)] == [False, True, False, True, False]


def test_what_is_not_spent_is_kept_for_ten_seconds_only() -> None:
    budget = RateBudget(rate=2)
    budget.spend(1.0)
    assert [budget.spend(1.0 + 100 * RATE_WINDOW) for _ in range(21)] == [True] * 20 + [False]


def test_a_rate_of_less_than_one_in_ten_seconds_lets_one_pass() -> None:
    budget = RateBudget(rate=0.01)
    assert [budget.spend(now) for now in (0.0, 1.0, 99.0, 101.0)] == [True, False, False, True]


def test_a_stall_adds_what_it_kept_back_to_what_is_left() -> None:
    budget = RateBudget(2)
    assert [budget.spend(5.0) for _ in range(21)] == [True] * 20 + [False]
    assert [budget.spend(5.0, 30.0) for _ in range(61)] == [True] * 60 + [False]
    assert [budget.spend(5.5, 30.0) for _ in range(2)] == [True, False]


def test_what_a_stall_added_stays_until_it_is_spent() -> None:
    budget = RateBudget(2)
    assert budget.spend(5.0, 30.0)
    assert [budget.spend(60.0, 30.0) for _ in range(80)] == [True] * 79 + [False]


def test_a_stall_from_before_a_budget_adds_nothing() -> None:
    budget = RateBudget(2, stalled=30.0)
    assert [budget.spend(5.0, 30.0) for _ in range(21)] == [True] * 20 + [False]
