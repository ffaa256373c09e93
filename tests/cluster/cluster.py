"""Three services on three NATS servers, each a process that can be killed and stopped."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx2

from tests.nats_server import NatsServer

STARTUP = 30.0


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


class ServiceProcess:
    """`wg-orchestrator serve` on a port of its own."""

    def __init__(self, folder: Path, number: int, port: int, nats_urls: str) -> None:
        self.address = f"127.0.0.1:{port}"
        self._log = folder / f"service-{number}.log"
        self._folder = folder
        self._arguments = [
            "serve", "--host", "127.0.0.1", "--port", str(port), "--log-level", "info", "--close-timeout", "1",
            "--nats", nats_urls, "--nats-replicas", "3",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wg_orchestrator", *self._arguments], cwd=self._folder, stdout=log, stderr=log
            )

    def __str__(self) -> str:
        return f"the service on {self.address}"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # It may run on for a moment.

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    async def ready(self) -> None:
        async with httpx2.AsyncClient(timeout=2) as client:
            while True:
                try:
                    if (await client.get(f"http://{self.address}/readyz")).status_code == 200:
                        return
                except httpx2.TransportError:
                    pass
                await anyio.sleep(0.1)


class Cluster:
    def __init__(self, folder: Path) -> None:
        ports = free_ports(9)
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[3:6])
        self.servers = [
            NatsServer(
                folder / f"nats-{number}",
                f"nats-{number}",
                ports[number],
                'http: "127.0.0.1:-1"\n'
                f'cluster {{ name: "test", listen: "127.0.0.1:{ports[3 + number]}", routes: [{routes}] }}',
            )
            for number in range(3)
        ]
        urls = ",".join(f"nats://127.0.0.1:{port}" for port in ports[:3])
        self.services = [ServiceProcess(folder, number, ports[6 + number], urls) for number in range(3)]

    async def start(self) -> None:
        for server in self.servers:
            server.start()
        for service in self.services:
            service.start()
        await self.ready()

    async def ready(self) -> None:
        with anyio.fail_after(STARTUP):
            for service in self.services:
                await service.ready()

    def stop(self) -> None:
        for service in self.services:
            service.kill()
        for server in self.servers:
            server.kill()
