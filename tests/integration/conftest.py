from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """The service runs on uvloop, and so do its tests."""
    return {"uvloop": uvloop.new_event_loop}
