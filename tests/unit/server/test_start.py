import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from dependency_injector import providers

from wg_orchestrator.container import Container
from wg_orchestrator.server.cannot_start import CannotStart
from wg_orchestrator.server.server import Server
from wg_orchestrator.settings import Settings


def a_server(**options: Any) -> Server:
    settings = Settings(**{"host": "127.0.0.1", "port": 0, "_env_file": None, **options})
    return Server(Container(settings=providers.Object(settings)))


def a_free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def test_a_server_that_can_not_start_leaves_nothing_open() -> None:
    port = a_free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"can't listen on 127.0.0.1 port {number}"):
            await a_server(port=port, metrics_port=number).serve()
    socket.create_server(("127.0.0.1", port)).close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CannotStart, match=f"port {number}: Address already in use"):
            await a_server(port=number).serve()


async def test_without_its_certificate_it_does_not_listen(tmp_path: Path) -> None:
    port, missing = a_free_port(), tmp_path / "missing"
    with pytest.raises(CannotStart, match="No such file"):
        await a_server(port=port, tls_certificate=missing, tls_key=missing).serve()
    socket.create_server(("127.0.0.1", port)).close()


def test_a_server_has_no_address_and_no_socket_before_it_serves() -> None:
    with pytest.raises(RuntimeError, match="not serving"):
        _ = a_server().address
