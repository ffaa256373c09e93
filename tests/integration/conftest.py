from asyncio import AbstractEventLoop, new_event_loop
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """Run the service's tests on uvloop, like the service, and the example's tests on asyncio's own loop."""
    if item.path.stem == "test_examples":
        return {"asyncio": new_event_loop}
    return {"uvloop": uvloop.new_event_loop}
