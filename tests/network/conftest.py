from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.agents import Peer, Service
from harness.namespaces import Internet, Machine, missing

lacking = missing()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if lacking is not None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=lacking))


@pytest.fixture
def internet() -> Iterator[Internet]:
    with Internet() as internet:
        yield internet


@pytest.fixture
def service(internet: Internet, tmp_path: Path) -> Iterator[Service]:
    service = Service(internet.public("server"), tmp_path)
    yield service.start()
    service.kill()


NewPeer = Callable[..., Peer]


@pytest.fixture
def new_peer(service: Service, tmp_path: Path) -> Iterator[NewPeer]:
    """Makes and starts an agent on a machine."""
    peers: list[Peer] = []

    def start(machine: Machine, name: str, *options: str, url: str | None = None) -> Peer:
        peer = Peer(machine, name, url or service.url(), tmp_path, *options)
        peers.append(peer)
        return peer.start()

    yield start
    for peer in peers:
        if peer.process is not None:
            peer.process.kill()
            peer.process.wait()
        peer.clean()
