"""What operators see of the service, and how it stops."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from harness.keys import a_key_text
from tests.integration.service import PATIENCE, Client, RawClient, Service, join_message, refused, running
from wg_orchestrator.client import TryAgainLater, follow


@pytest.fixture
async def web() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=PATIENCE) as web:
        yield web


async def eventually(service: Service, name: str, value: float, **labels: str) -> None:
    with anyio.fail_after(PATIENCE):
        while service.metric(name, **labels) != value:
            await asyncio.sleep(0.001)


async def test_prometheus_is_told_what_happens_on_a_port_of_its_own(web: httpx2.AsyncClient) -> None:
    async with running(metrics_port=0) as service:
        watcher, peer = await Client.join(service, 1), await Client.join(service, 2)
        await watcher.hear()
        await peer.leave()
        await watcher.hear()
        await refused(service, "[]")
        await eventually(service, "connections", 1)
        metrics = (await web.get(f"http://{service.metrics_address}/metrics")).text
        for line in (
            "wg_orchestrator_peers 1.0",
            "wg_orchestrator_tenants 1.0",
            "wg_orchestrator_connections 1.0",
            "wg_orchestrator_joins_total 2.0",
            'wg_orchestrator_leaves_total{reason="closed by the peer"} 1.0',
            'wg_orchestrator_refusals_total{reason="malformed join"} 1.0',
            "wg_orchestrator_notices_sent_total 2.0",
            "wg_orchestrator_join_seconds_count 2.0",
        ):
            assert line in metrics.splitlines()
        assert re.search(r"^wg_orchestrator_event_loop_lag_seconds_count [1-9]", metrics, re.MULTILINE)
        # Metrics are for operators, not for peers.
        assert (await web.get(f"http://{service.address}/metrics")).status_code == 404


async def test_a_flood_of_refusals_is_summed_up_while_the_service_runs() -> None:
    with capture_logs() as lines:
        async with running(
            adapt=lambda container: container.telemetry.add_kwargs(window=1.5), max_log_rate=0.5
        ) as service:
            for _ in range(5):
                await refused(service, "[]")
            with anyio.fail_after(PATIENCE):
                while lines[-1]["event"] != "refused, many more":
                    await asyncio.sleep(0.01)
    logged = [line["event"] for line in lines].count("refused")
    assert logged + sum(line.get("not_logged", 0) for line in lines) == 5


async def test_readiness_goes_first_when_the_service_stops(web: httpx2.AsyncClient) -> None:
    async with running(shutdown_delay=PATIENCE) as service:
        peer = await Client.join(service, 1)
        ready = f"http://{service.address}/readyz"
        assert (await web.get(ready)).status_code == 200
        service.server.should_exit = True
        with anyio.fail_after(PATIENCE):
            while (await web.get(ready)).status_code != 503:
                pass
        newcomer = await Client.join(service, 2)  # A load balancer that has not noticed yet may still send peers.
        assert (await peer.hear())["virtual_ip"] == newcomer.virtual_ip
        service.server.force_exit = True
        assert await peer.closed() == (1012, "service restart")


async def test_peers_are_let_go_at_the_pace_of_handshakes_and_hear_of_no_leaves() -> None:
    async with running(max_handshake_rate=20, shutdown_timeout=30) as service:
        clients = [await Client.join(service, number) for number in range(10)]
        for client in clients:
            await client.until(lambda roster: len(roster.peers) == 9)
        service.server.should_exit = True
        ends: list[int] = []

        async def end(number: int, client: Client) -> None:
            assert await client.closed() == (1012, "service restart")
            ends.append(sum(1 for one in clients if one.websocket.close_code is None))

        await asyncio.gather(*(end(number, client) for number, client in enumerate(clients)))
        assert len(set(ends)) >= 3  # They were not closed all at once.
        assert not any("removed_peer" in message for client in clients for message in client.messages)
    assert list(service.roster()) == []


@pytest.mark.parametrize("frozen", [True, False])
async def test_a_service_ends_within_its_grace_time_whatever_its_peers_do(frozen: bool) -> None:
    """The peers ignore the close frame, and the close timeout is longer than the test could wait."""
    async with running(close_timeout=3600, shutdown_timeout=1) as service:
        for number in range(5):
            client = await RawClient.join(service, number)
            if not frozen:
                client.send(1, b"still here")
        await service.stop()


async def test_memory_in_use_turns_newcomers_away_and_nobody_else() -> None:
    async with running(max_memory=2**62) as service:
        peer = await Client.join(service, 1)
        service.server._context.gate.measure_memory(2**63)  # type: ignore[attr-defined]
        assert await refused(service, join_message(2)) == (4005, "at capacity")
        service.server._context.gate.measure_memory(0)  # type: ignore[attr-defined]
        newcomer = await Client.join(service, 2)
        assert (await peer.hear())["virtual_ip"] == newcomer.virtual_ip


async def test_the_kernel_is_told_what_it_may_keep_for_a_peer() -> None:
    async with running(send_buffer_size=50_000, tcp_user_timeout=7.5) as service:
        await Client.join(service, 1)
        (connection,) = service.server.server_state.connections  # type: ignore[attr-defined]
        peer = connection._transport.get_extra_info("socket")
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 50_000  # The kernel doubles it: socket(7).
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7500


async def test_memory_in_use_is_looked_at_all_the_time() -> None:
    async with running(max_memory=1) as service:
        with anyio.fail_after(PATIENCE):
            while (await refused(service, join_message(1)))[0] != 4005:
                pass


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"max_connections_per_source": 1}, 429), ({"max_handshake_rate_per_source": 0.1}, 429),
     ({"max_handshake_rate": 0.1}, 503)],
)  # fmt: skip
async def test_more_than_a_source_may_have_is_to_come_again(limits: dict[str, Any], status: int) -> None:
    async with running(**limits) as service:
        await Client.join(service, 1)
        with pytest.raises(InvalidStatus) as refusal:
            await service.connect()
        assert refusal.value.response.status_code == status
        assert refusal.value.response.headers["retry-after"] == "1"
        with pytest.raises(TryAgainLater, match=f"HTTP {status} too many"):
            await anext(follow(service.url(), "x", a_key_text(2)))
        assert len(service.roster()) == 1


async def test_the_client_behind_a_trusted_proxy_is_the_source(capfd: pytest.CaptureFixture[str]) -> None:
    async with running(trusted_proxies="127.0.0.0/8", max_connections_per_source=1) as service:
        for number, client, welcome in ((1, "192.0.2.1", True), (2, "192.0.2.1", False), (3, "192.0.2.2", True)):
            headers = {"X-Forwarded-For": f"198.51.100.1, {client}"}
            if welcome:
                websocket = await service.connect(additional_headers=headers)
                await websocket.send(join_message(number))
                assert "virtual_ip" in str(await websocket.recv())
            else:
                with pytest.raises(InvalidStatus):
                    await service.connect(additional_headers=headers)
    assert "source=192.0.2.2" in "".join(capfd.readouterr())
