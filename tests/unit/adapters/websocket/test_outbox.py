from wg_orchestrator.adapters.websocket.outbox import OutboxRoom


def test_who_takes_nothing_gets_an_outbox_more_than_what_filled_it_and_then_no_more() -> None:
    room = OutboxRoom(1000, waiting=5000)
    assert room.takes(5000, 400)
    assert room.takes(5400, 600)
    assert room.takes(6000, 1)
    assert not room.takes(6001, 1)


def test_who_has_taken_enough_may_be_filled_again() -> None:
    room = OutboxRoom(1000, waiting=5000)
    assert not room.takes(6001, 1)
    assert room.takes(1000, 9000)
    assert room.takes(11000, 1)
    assert not room.takes(11001, 1)


def test_who_has_taken_a_little_only_has_no_more_room_for_that() -> None:
    room = OutboxRoom(1000, waiting=5000)
    assert room.takes(1001, 5000)
    assert not room.takes(6001, 1)
