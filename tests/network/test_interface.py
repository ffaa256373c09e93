"""The contract of the agent's port Interface, for a real interface in a network namespace."""

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from harness.namespaces import Internet
from tests.contracts.interface import InterfaceContract
from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.agent.linux import interface
from wg_orchestrator.agent.linux.device import DeviceState
from wg_orchestrator.agent.linux.interface import LinuxInterface
from wg_orchestrator.agent.linux.links import Links, links
from wg_orchestrator.agent.ports import Interface

NAME = f"wgc{os.getpid() % 10**7}"


class TestLinuxInterface(InterfaceContract):
    @pytest.fixture
    def inside(self, internet: Internet) -> Iterator[None]:
        """The thread of the test is in a namespace of its own."""
        from pyroute2 import netns

        machine = internet.public("one")
        with Path("/proc/thread-self/ns/net").open() as before:
            netns.setns(machine.name)
            yield
            netns.setns(before.fileno())
        (Path("/var/run/wireguard") / f"{NAME}.sock").unlink(missing_ok=True)

    @pytest.fixture
    async def kernel(self, inside: None) -> AsyncIterator[Links]:
        async with links() as kernel:
            yield kernel

    @pytest.fixture
    def new(self, kernel: Links) -> Callable[[], Interface]:
        return lambda: LinuxInterface(NAME, "ws://x/tenants/acme", kernel)


class Faulty:
    """Stands for a way to configure WireGuard that can't be used."""

    def __init__(self, _: str) -> None:
        """Whatever the interface."""

    async def read(self) -> DeviceState:
        raise EnvironmentFault("not here")

    async def ended(self) -> None:
        """There is none."""


@pytest.mark.skipif(shutil.which("wg") is None, reason="apt-get install wireguard-tools")
class TestLinuxInterfaceByTheCommand(TestLinuxInterface):
    @pytest.fixture
    def new(self, kernel: Links, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Interface]:
        monkeypatch.setattr(interface, "Uapi", Faulty)
        return lambda: LinuxInterface(NAME, "ws://x/tenants/acme", kernel, needs_userspace=True)
