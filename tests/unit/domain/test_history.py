from wg_orchestrator.domain.history import Holding
from wg_orchestrator.domain.stay import StayId


def test_a_holding_covers_the_times_at_which_the_address_was_held() -> None:
    held = Holding(StayId("one"), "key", "name", 10.0, 20.0, "left")
    times = (None, 9.9, 10.0, 19.9, 20.0)
    assert [held.covers(at) for at in times] == [True, False, True, True, False]
