from collections.abc import Callable

import pytest

from tests.contracts.interface import InterfaceContract
from tests.unit.agent.fakes import FakeInterface, Kernel
from wg_orchestrator.agent.ports import Interface


class TestFakeInterface(InterfaceContract):
    @pytest.fixture
    def new(self) -> Callable[[], Interface]:
        kernel = Kernel()
        return lambda: FakeInterface(kernel)
