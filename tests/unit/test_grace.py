import anyio
import anyio.lowlevel

from wg_orchestrator.grace import Grace


async def test_all_of_the_time_is_left_until_the_stop_begins() -> None:
    grace = Grace(60)
    assert grace.left() == 60
    grace.begin()
    first = grace.left()
    assert 0 < first <= 60
    grace.begin()
    assert grace.left() <= first


async def test_what_is_bounded_ends_with_the_time_and_what_comes_after_it_goes_on() -> None:
    grace = Grace(0)
    grace.begin()
    with grace.bounding():
        await anyio.sleep_forever()
    assert grace.left() == 0


async def test_what_is_bounded_ends_when_the_time_is_cut() -> None:
    grace, waits = Grace(3600), anyio.Event()

    async def wait() -> None:
        with grace.bounding():
            waits.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await waits.wait()
        grace.cut()
    assert grace.left() == 0


async def test_what_ends_by_itself_is_not_cancelled_by_a_later_cut() -> None:
    grace = Grace(3600)
    with grace.bounding():
        pass
    grace.cut()
    await anyio.lowlevel.checkpoint()
