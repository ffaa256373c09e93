import pytest

from tests.grants import NOW, OFTEN, ONCE
from wg_orchestrator.domain.errors import UsedUp
from wg_orchestrator.domain.uses import MOST, Use, taken


def test_a_use_is_taken_settled_and_good_for_ever() -> None:
    use = taken(ONCE, None, 0, NOW)
    assert use == Use(NOW, pending=1)
    assert use.settled() == Use(NOW, pending=0, is_settled=True)
    assert taken(ONCE, use.settled(), 1, NOW + 10**9) == use.settled()


def test_a_use_is_free_again_when_the_last_join_of_its_key_has_failed() -> None:
    twice = taken(ONCE, taken(ONCE, None, 0, NOW), 1, NOW + 5)
    assert twice == Use(NOW, pending=2)
    once = twice.given_back()
    assert once == Use(NOW, pending=1)
    assert once is not None
    assert once.given_back() is None
    assert twice.settled().given_back() == Use(NOW, pending=0, is_settled=True)


def test_what_came_too_often_takes_nothing_away() -> None:
    use = Use(NOW, pending=0, is_settled=True)
    assert (use.settled(), use.given_back()) == (use, use)


@pytest.mark.parametrize(("grant", "used", "now"), [(ONCE, 1, NOW), (ONCE, 0, NOW + 60), (OFTEN, MOST, NOW)])
def test_there_is_no_use_left(grant: object, used: int, now: int) -> None:
    with pytest.raises(UsedUp):
        taken(grant, None, used, now)  # type: ignore[arg-type]


def test_any_number_is_settled_at_once() -> None:
    assert taken(OFTEN, None, MOST - 1, NOW) == Use(NOW, pending=0, is_settled=True)
