from dependency_injector import providers

from tests.fakes import RecordingNotifier
from wg_orchestrator.container import Container
from wg_orchestrator.server.rates import ConnectionLimits, GateLimits
from wg_orchestrator.settings import Settings


def test_each_container_is_a_service_of_its_own() -> None:
    one, two = Container(), Container()
    assert one.membership() is one.membership()
    assert one.membership() is not two.membership()
    assert one.tenants() is not two.tenants()


def test_a_setting_reaches_what_it_is_for() -> None:
    container = Container(settings=providers.Object(Settings(max_message_size=99, join_timeout=7, max_pending=3)))
    assert container.gate_limits().max_pending == 3
    assert container.connection_limits().max_message_size == 99
    assert container.connection_limits().join_timeout == 7


def test_an_adapter_is_swapped_by_overriding_its_provider() -> None:
    container, notifier = Container(), RecordingNotifier()
    with container.notifier.override(notifier):
        assert container.membership()._notifier is notifier


def test_without_settings_the_limits_are_the_defaults_of_both() -> None:
    container = Container(settings=providers.Object(Settings(_env_file=None)))
    assert container.connection_limits() == ConnectionLimits()
    assert container.gate_limits() == GateLimits()
