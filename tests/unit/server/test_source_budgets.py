"""A source that keeps to its rate is never refused, whatever other sources do, and whatever it was refused before."""

import random
from typing import Any

import pytest

from wg_orchestrator.adapters.websocket.rates import RATE_WINDOW, SourceBudgets
from wg_orchestrator.server.gate import BUSY, TOO_MANY_HANDSHAKES, Gate
from wg_orchestrator.settings import GateLimits


def a_gate(**limits: Any) -> Gate:
    return Gate(GateLimits(**limits), 1024)


@pytest.mark.parametrize(("rate", "kept"), [(5.0, 4.5), (5.0, 5.0), (1.0, 0.9), (0.2, 0.2), (0.02, 0.02)])
def test_a_source_that_keeps_to_its_rate_is_never_refused(rate: float, kept: float) -> None:
    gate = a_gate(max_handshake_rate_per_source=rate, max_handshake_rate=0)
    assert [gate.handshake("a", 1000 + number / kept) for number in range(1000)] == [None] * 1000


@pytest.mark.parametrize("seed", range(5))
def test_a_source_that_comes_in_bursts_within_its_average_is_never_refused(seed: int) -> None:
    chance = random.Random(seed)
    gate = a_gate(max_handshake_rate_per_source=5, max_handshake_rate=0)
    now, burst = 1000.0, 0
    for _ in range(200):
        now += burst / 5 + chance.random()  # By now the budget of fifty is full again.
        burst = chance.randint(1, 50)
        assert [gate.handshake("a", now) for _ in range(burst)] == [None] * burst


def test_what_was_refused_costs_nothing() -> None:
    """Beyond its burst a source gets its rate, however often it asks."""
    gate = a_gate(max_handshake_rate_per_source=5, max_handshake_rate=0)
    per_window = []
    for window in range(7):
        answers = [gate.handshake("a", 1000 + RATE_WINDOW * window + number / 100) for number in range(1000)]
        per_window.append(answers.count(None))
        assert set(answers) <= {None, TOO_MANY_HANDSHAKES}
    assert per_window[0] == pytest.approx(100, abs=1)
    assert per_window[1:] == [pytest.approx(50, abs=1)] * 6


def test_who_is_refused_because_there_are_too_many_in_all_has_spent_nothing() -> None:
    gate = a_gate(max_handshake_rate_per_source=1, max_handshake_rate=0.1)
    assert gate.handshake("a", 1000.0) is None
    assert [gate.handshake("a", 1000.0) for _ in range(100)] == [BUSY] * 100
    gate = a_gate(max_handshake_rate_per_source=0.1, max_handshake_rate=0.2)
    for _ in range(100):
        gate.handshake("a", 1000.0)
    assert gate.handshake("b", 1000.0) is None  # The handshakes refused to "a" have used up nothing of the whole rate.


def test_a_budget_that_is_full_again_needs_no_memory() -> None:
    budgets = SourceBudgets(rate=2)
    for number in range(1000):
        budgets.spend(f"{number}", number * 0.1)
    assert len(budgets) == pytest.approx(RATE_WINDOW / 0.1, abs=2)
    budgets.spend("last", 1e6)
    assert len(budgets) == 1


def test_a_budget_that_is_not_full_yet_is_not_forgotten() -> None:
    """A rate of less than one in ten seconds takes longer to come back."""
    budgets = SourceBudgets(rate=0.01)
    assert budgets.spend("a", 0.0)
    for now in (50.0, 99.0):
        assert budgets.spend(f"{now}", now)
        assert not budgets.spend("a", now)
    assert budgets.spend("a", 100.5)


def test_however_many_sources_there_are_little_is_kept_of_them() -> None:
    gate = Gate(GateLimits(max_handshake_rate_per_source=1), 1024, max_sources=100)
    for number in range(10_000):
        gate.handshake(f"source {number}", 1000.0)
        assert len(gate._handshakes_by_source) <= 100
        assert gate._budgets is not None
        assert len(gate._budgets) <= 100
