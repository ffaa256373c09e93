import asyncio
import os
import re
import signal
import socket
from pathlib import Path

import anyio
from websockets.exceptions import ConnectionClosed

from harness.nats_server import NatsServer
from tests.integration.nats.nodes import a_stream, until
from tests.integration.nats.test_services import Listening, _joined
from tests.integration.prover import Owner, Prover
from tests.integration.service import PATIENCE, Service
from tests.integration.test_cli import Command
from wg_orchestrator.container import Container


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_workers_are_one_service_and_one_that_dies_is_replaced(server: NatsServer, tmp_path: Path) -> None:
    arguments = ("serve", "--host", "127.0.0.1", "--port", "0", "--workers", "2", "--close-timeout", "1")
    with Command(tmp_path, *arguments, "--nats", server.url, "--nats-stream", a_stream()) as command:
        address = command.line(r"ws://(127.0.0.1:\d+)/tenants/")
        assert command.line(r"ws://(127.0.0.1:\d+)/tenants/") == address
        service = Service(Listening(address), Container(), None)  # type: ignore[arg-type]
        clients = [await _joined(service, number) for number in range(12)]
        for client in clients:
            await client.until(lambda roster: len(roster.peers) == 11)
        supervisor = command._process.pid
        first, second = children(supervisor)
        os.kill(first, signal.SIGKILL)
        command.line("worker died")
        assert command.line(r"ws://(127.0.0.1:\d+)/tenants/") == address
        assert len(children(supervisor)) == 2
        for client in clients:
            client.websocket.transport.abort()
        workers = children(supervisor)
        assert command.stop(signal.SIGTERM) == 0
        assert not any(map(lives, workers | {second}))
        assert not re.search("Traceback|rror", command.output)


async def test_each_worker_has_a_rendezvous_of_its_own_and_names_that(server: NatsServer, tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = min(probe.getsockname()[1], 65_000)
    arguments = ("serve", "--host", "127.0.0.1", "--port", "0", "--workers", "2", "--rendezvous-port", str(port))
    key = str(tmp_path / "rendezvous.key")
    with Command(
        tmp_path, *arguments, "--rendezvous-key", key, "--nats", server.url, "--nats-stream", a_stream()
    ) as command:
        address = command.line(r"ws://(127.0.0.1:\d+)/tenants/")
        command.line("serving")
        service = Service(Listening(address), Container(), None)  # type: ignore[arg-type]
        keys, named = set[str](), set[str]()
        with anyio.fail_after(PATIENCE):
            while len(named) < 2:  # The kernel chooses the worker.
                owner = Owner()
                peer = await Prover.join(service, owner.keys.public)
                try:
                    prove = await peer.hear("prove")
                    await owner.answer(prove)
                    await peer.hear("proven")
                except ConnectionClosed:  # 1013: the worker has no lease yet.
                    await asyncio.sleep(0.05)
                    continue
                keys.add(prove["public_key"])
                named.add(prove["endpoints"][0])
                peer.websocket.transport.abort()
        assert named == {f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"}
        assert len(keys) == 1
        assert command.stop(signal.SIGTERM) == 0


async def test_workers_do_not_outlive_their_supervisor(server: NatsServer, tmp_path: Path) -> None:
    arguments = ("serve", "--host", "127.0.0.1", "--port", "0", "--workers", "2", "--nats", server.url)
    with Command(tmp_path, *arguments, "--nats-stream", a_stream()) as command:
        command.line("serving")
        command.line("serving")
        workers = children(command._process.pid)
        command.signal(signal.SIGKILL)
        await until(lambda: not any(map(lives, workers)))


def test_workers_without_nats_are_refused(tmp_path: Path) -> None:
    with Command(tmp_path, "serve", "--workers", "2") as command:
        assert command.end() == 2
        assert command.output == "wg-orchestrator: more than one worker need nats_url\n"
