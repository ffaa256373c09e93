from collections.abc import Awaitable, Callable

import anyio


async def until_one_fails(*works: Callable[[], Awaitable[None]]) -> None:
    """Run tasks that do not end by themselves. Raises what the first task that fails raises."""
    failures: list[Exception] = []

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as failure:
            failures.append(failure)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for work in works:
            tasks.start_soon(run, work)
    if failures:
        raise failures[0]
