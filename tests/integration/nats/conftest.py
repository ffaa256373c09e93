from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.nats_server import NatsServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server for all tests that do not disturb it. Each test has a stream of its own."""
    yield from _started(tmp_path_factory.mktemp("nats"))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server for one test, which may kill or stop it."""
    yield from _started(tmp_path)


def _started(folder: Path) -> Iterator[NatsServer]:
    server = NatsServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
