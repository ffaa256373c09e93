import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
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

SECONDS = 8
"""Of the grace, as it is set unless told otherwise."""


def a_container(**options: Any) -> Container:
    return Container(settings=providers.Object(Settings(**options)))


def a_client(**options: Any) -> TestClient:
    return TestClient(create_app(a_container(**options)))


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


async def test_at_the_end_of_the_lifespan_peers_are_let_go_and_have_left_on_any_asgi_server() -> None:
    container = a_container()
    app = create_app(container)
    scope = {
        "type": "websocket", "path": "/tenants/acme", "raw_path": b"/tenants/acme", "root_path": "", "scheme": "ws",
        "query_string": b"", "headers": [], "subprotocols": [], "client": ("192.0.2.1", 1), "server": ("x", 80),
    }  # fmt: skip
    received, sent = asyncio.Queue[Any](), asyncio.Queue[Any]()
    async with app.router.lifespan_context(app):
        peer = asyncio.create_task(app(scope, received.get, sent.put))
        received.put_nowait({"type": "websocket.connect"})
        received.put_nowait({"type": "websocket.receive", "text": json.dumps(join_message(1))})
        assert [(await sent.get())["type"] for _ in range(2)] == ["websocket.accept", "websocket.send"]
        assert container.tenants().count() == 1
    assert container.tenants().count() == 0
    assert await sent.get() == {"type": "websocket.close", "code": 1012, "reason": "service restart"}
    await peer


def test_what_the_container_names_runs_for_as_long_as_the_app() -> None:
    container, story = a_container(), list[str]()

    @asynccontextmanager
    async def service(name: str) -> AsyncIterator[None]:
        story.append(f"{name} begins")
        yield
        story.append(f"{name} ends with {'time' if container.grace().left() < SECONDS else 'no stop'}")

    container.services.override(providers.List(providers.Factory(service, "one"), providers.Factory(service, "two")))
    with TestClient(create_app(container)):
        assert story == ["one begins", "two begins"]
    assert story[2:] == ["two ends with time", "one ends with time"]


def test_the_app_is_ready_when_all_that_the_container_requires_is_met() -> None:
    container, met = a_container(), list[bool]()
    container.readiness.override(providers.Singleton(type(container.readiness()), [lambda: True, lambda: bool(met)]))
    with TestClient(create_app(container)) as client:
        assert client.get("/readyz").status_code == 503
        met.append(True)
        assert client.get("/readyz").status_code == 200
