from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from dependency_injector import providers

from tests.fakes import RecordingNotifier
from wg_orchestrator.container import Container
from wg_orchestrator.settings import Settings


def test_each_container_is_a_service_of_its_own() -> None:
    one, two = Container(), Container()
    assert one.membership() is one.membership()
    assert one.membership() is not two.membership()
    assert one.tenants() is not two.tenants()


def test_an_adapter_is_swapped_by_overriding_its_provider() -> None:
    container, notifier = Container(), RecordingNotifier()
    with container.notifier.override(notifier):
        assert container.membership()._notifier is notifier


@pytest.mark.parametrize(("options", "requirements"), [({}, 0), ({"nats_url": "nats://127.0.0.1:1"}, 2)])
def test_what_has_to_run_and_what_readiness_requires_is_named_for_each_store(
    options: dict[str, Any], requirements: int
) -> None:
    container = Container(settings=providers.Object(Settings(**options)))
    services = container.services()
    assert len(services) == 8
    assert all(isinstance(service, AbstractAsyncContextManager) for service in services)
    assert len(container.readiness()._requirements) == requirements
