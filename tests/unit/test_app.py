from collections.abc import Iterator
from typing import Any

import pytest
from dependency_injector import providers
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from harness.keys import a_key_text
from wg_orchestrator.app import create_app
from wg_orchestrator.container import Container
from wg_orchestrator.settings import Settings


def a_client(**options: Any) -> TestClient:
    return TestClient(create_app(Container(settings=providers.Object(Settings(**options)))))


@pytest.fixture
def client() -> Iterator[TestClient]:
    with a_client() as client:
        yield client


def join_message(number: int) -> dict[str, str]:
    return {"display_name": f"peer-{number}", "public_key": a_key_text(number)}


def test_the_app_is_ready_between_its_start_and_its_stop() -> None:
    client = a_client()
    assert client.get("/readyz").status_code == 503
    with client:
        assert client.get("/readyz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_peers_see_each_other_on_any_asgi_server(client: TestClient) -> None:
    with client.websocket_connect("/tenants/acme") as first:
        first.send_json(join_message(1))
        assert first.receive_json() == {"virtual_ip": "100.64.0.1", "peers": []}
        with client.websocket_connect("/tenants/acme") as second:
            second.send_json(join_message(2))
            assert [peer["virtual_ip"] for peer in second.receive_json()["peers"]] == ["100.64.0.1"]
            assert first.receive_json() == {**join_message(2), "virtual_ip": "100.64.0.2"}
            second.send_text("ignored")
        assert first.receive_json() == {"removed_peer": "100.64.0.2"}


@pytest.mark.parametrize(
    ("first", "code"),
    [("{", 4501), ('{"display_name": "", "public_key": ""}', 4502), ('{"display_name": "x", "public_key": ""}', 4503),
     ("x" * 4097, 1009)],
)  # fmt: skip
def test_refusals_have_their_close_codes_on_any_asgi_server(client: TestClient, first: str, code: int) -> None:
    with client.websocket_connect("/tenants/acme") as websocket:
        websocket.send_text(first)
        with pytest.raises(WebSocketDisconnect) as end:
            websocket.receive_json()
        assert end.value.code == code


def test_binary_is_refused_before_and_after_the_join(client: TestClient) -> None:
    for messages in ([], [join_message(1)]):
        with client.websocket_connect("/tenants/acme") as websocket:
            for message in messages:
                websocket.send_json(message)
                websocket.receive_json()
            websocket.send_bytes(b"x")
            with pytest.raises(WebSocketDisconnect) as end:
                websocket.receive_json()
            assert (end.value.code, end.value.reason) == (1003, "text only")


def test_a_bad_tenant_id_is_a_bad_request(client: TestClient) -> None:
    with pytest.raises(WebSocketDenialResponse) as refusal, client.websocket_connect("/tenants/a!b"):
        pass
    assert refusal.value.status_code == 400
