"""Three nodes of the service on one or three NATS servers, as processes that can be killed, stopped and cut off."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio
import httpx2

from harness.nats_server import NatsServer
from harness.proxy import Link, Proxy

STARTUP = 30.0
SERVICES = 3


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


class ServiceProcess:
    """`wg-orchestrator serve` on a port of its own. It reaches NATS through a link of its own."""

    def __init__(self, folder: Path, number: int, port: int, link: Link, options: tuple[str, ...]) -> None:
        self.address = f"127.0.0.1:{port}"
        self.link = link
        self.lives = 0
        """How often it was started, was killed or has ended."""
        self.is_ending = False
        """Whether it was told to end."""
        self._log = folder / f"service-{number}.log"
        self._folder = folder
        self._arguments = [
            "serve", "--host", "127.0.0.1", "--port", str(port), "--log-level", "info", "--close-timeout", "10",
            "--shutdown-timeout", "20", *options,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.lives += 1
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wg_orchestrator", *self._arguments], cwd=self._folder, stdout=log, stderr=log
            )

    def __str__(self) -> str:
        return f"the service on {self.address}"

    def kill(self) -> None:
        if self._process is not None:
            self.lives += 1
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """Tell it to end, by SIGTERM."""
        assert self._process is not None
        self.is_ending = True
        self._process.terminate()

    async def ended(self) -> None:
        """Wait until it has ended by itself."""
        assert self._process is not None
        with anyio.fail_after(STARTUP):
            while self._process.poll() is None:
                await anyio.sleep(0.02)
        self._process = None
        self.lives += 1
        self.is_ending = False

    def pause(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # Wait for it: it may run on for a moment.

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
    def __init__(self, folder: Path, servers: int = 3, options: tuple[str, ...] = ()) -> None:
        """`servers` is how many NATS servers there are. Each has a replica of the whole stream, in memory. The services
        get `options`.
        """
        ports = iter(free_ports(2 * servers + SERVICES * (servers + 1)))
        clients, routing = ([next(ports) for _ in range(servers)] for _ in range(2))
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routing)
        self.servers = [
            NatsServer(
                folder / f"nats-{number}",
                f"nats-{number}",
                clients[number],
                'http: "127.0.0.1:-1"\n'
                # The servers must not tell the services their addresses, which bypass the proxies.
                f'cluster {{ name: "test", no_advertise: true, routes: [{routes}]\n'
                f'  listen: "127.0.0.1:{routing[number]}" }}'
                if servers > 1
                else "",
            )
            for number in range(servers)
        ]
        self.services = []
        for number in range(SERVICES):
            doors = [next(ports) for _ in range(servers)]
            link = Link([Proxy(door, port) for door, port in zip(doors, clients, strict=True)])
            urls = ",".join(f"nats://127.0.0.1:{door}" for door in doors)
            nats = ("--nats", urls, "--nats-replicas", str(servers))
            self.services.append(ServiceProcess(folder, number, next(ports), link, (*nats, *options)))

    async def start(self) -> None:
        for server in self.servers:
            server.start()
        for service in self.services:
            await service.link.restore()
            service.start()
        await self.ready()

    async def ready(self) -> None:
        with anyio.fail_after(STARTUP):
            for service in self.services:
                await service.ready()

    def stop(self) -> None:
        for service in self.services:
            service.kill()
            service.link.cut()
        for server in self.servers:
            server.kill()
