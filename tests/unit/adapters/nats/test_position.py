import asyncio

from wg_orchestrator.adapters.nats.feed import Position


async def test_the_end_is_reached_when_nothing_is_left_in_the_stream_and_not_before() -> None:
    position = Position()
    end = asyncio.ensure_future(position.end())
    for sequence, is_at_end, has_come in ((1, False, False), (2, True, True)):
        position.reach(sequence, is_at_end=is_at_end)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert end.done() is has_come


async def test_a_message_that_follows_at_once_is_waited_for_too() -> None:
    position = Position()
    end = asyncio.ensure_future(position.end())
    await asyncio.sleep(0)
    position.reach(1, is_at_end=True)
    position.reach(2)  # Before whoever waits has had its turn.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not end.done()
    position.reach(3, is_at_end=True)
    await end
