from tests.fakes import RecordingNotifier
from wg_orchestrator.container import Container


def test_each_container_is_a_service_of_its_own() -> None:
    one, two = Container(), Container()
    assert one.membership() is one.membership()
    assert one.membership() is not two.membership()
    assert one.tenants() is not two.tenants()


def test_an_adapter_is_swapped_by_overriding_its_provider() -> None:
    container, notifier = Container(), RecordingNotifier()
    with container.notifier.override(notifier):
        assert container.membership()._notifier is notifier
